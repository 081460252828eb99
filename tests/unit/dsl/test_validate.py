"""Validation of the calls in a definition."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from support.catalogue import Catalogue

from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.lines import line_of
from st2actions_mistral.dsl.validate import validate


def workbook(tasks: str, actions: str = "") -> Definition:
    body = textwrap.indent(textwrap.dedent(tasks).strip("\n"), " " * 6)
    extra = textwrap.indent(textwrap.dedent(actions).strip("\n"), "  ")
    head = "version: '2.0'\nname: tests.book\n" + (f"actions:\n{extra}\n" if actions else "")
    return Definition.parse(f"{head}workflows:\n  main:\n    tasks:\n{body}\n", "book.yaml")


def test_validate_returns_all_problems() -> None:
    definition = workbook(
        """
        missing: {action: examples.mongo-db}
        nothing: {action: core.local cmd=null}
        more: {action: core.local cmd='date' cdw='/tmp' sudo=true}
        unknown: {action: core.lokal cmd='date'}
        short: {action: nosuch}
        both: {action: core.local cmd='date', input: <% $.all %>}
        words: {action: core.local, input: cmd=date}
        bare: {action: core.local cmd=date cwd='/tmp'}
        no_name: {action: '=x y=1'}
        no_ref: {action: st2.action, input: {cmd: date}}
        odd_ref: {action: st2.action ref=5}
        bad_ref: {action: st2.action ref='local'}
        explicit: {action: st2.action ref='core.local', input: {parameters: {x: 1}}}
        parameters: {action: st2.action ref='core.local', input: {parameters: [cmd]}}
        disabled: {action: examples.off}
        off_too: {action: st2.action ref='examples.off'}
        typed: {action: examples.typed, input: {host: 5, command: [1], level: middle}}
        explicit_typed: {action: st2.action ref='examples.typed', input: {parameters: {host: [a]}}}
        in_line: {action: core.local cmd='date' timeout='soon'}
        """,
        "shell: {base: core.local}",
    )
    known = Catalogue()
    problems = [str(problem) for problem in validate(definition, known)]
    takes = "It takes: cmd, cwd, timeout."
    assert problems == [
        "action shell: core.local needs cmd.",
        *(
            f"workflow tests.book.main, task {problem}"
            for problem in [
                "missing: examples.mongo-db needs primary, members.",
                "nothing: core.local needs cmd.",
                f"more: core.local has no parameter cdw. {takes}",
                "more: core.local does not accept sudo: immutable in StackStorm.",
                "unknown: Failed to find action core.lokal: neither Mistral nor StackStorm has it.",
                "short: Mistral has no action nosuch. A StackStorm action is called pack.action.",
                "both: input is an expression, so cmd cannot be given in action as well.",
                "words: input must be a mapping or an expression.",
                "bare: Mistral ignores cmd=… in action: put the value in quotes.",
                "bare: core.local needs cmd.",
                "no_name: '=x y=1' does not start with the name of an action.",
                "no_ref: st2.action has no input cmd. Parameters of the StackStorm action go"
                " below 'parameters'.",
                "no_ref: st2.action needs a ref: the name of a StackStorm action.",
                "odd_ref: ref must be the name of a StackStorm action: pack.action.",
                "bad_ref: StackStorm has no action local.",
                "explicit: core.local needs cmd.",
                f"explicit: core.local has no parameter x. {takes}",
                "parameters: parameters must be a mapping or an expression.",
                "disabled: examples.off is disabled in StackStorm.",
                "off_too: examples.off is disabled in StackStorm.",
                "typed: examples.typed refuses the value of host: 5 is not of type 'string'.",
                "typed: examples.typed refuses the value of command: 1 is not of type 'string'.",
                "typed: examples.typed refuses the value of level: 'middle' is not one of"
                " ['low', 'high'].",
                "explicit_typed: examples.typed refuses the value of host: ['a'] is not of type"
                " 'string'.",
                "in_line: core.local refuses the value of timeout: 'soon' is not of type 'integer'.",
            ]
        ),
    ]
    assert "local" not in known.asked


def test_native_actions_are_checked_as_well() -> None:
    known = Catalogue()
    known.native = set(known.st2)
    for call in ("core.local", "examples.off", "core.noop, input: {a: 1}"):
        definition = workbook(f"say: {{action: {call}}}")
        problems = validate(definition, known)
        assert problems == validate(definition, Catalogue())
        assert problems
    given = "{cmd: date, st2_context: {task_name: say}}"
    definition = workbook(f"say: {{action: core.local, input: {given}}}")
    assert not validate(definition, known)
    assert validate(definition, Catalogue())


def test_problem_has_its_path_in_the_file() -> None:
    problems = validate(workbook("say: {action: core.local}", "shell: {base: core.local}"), Catalogue())
    assert [problem.path for problem in problems] == [
        ("actions", "shell"),
        ("workflows", "main", "tasks", "say"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        "{host: <% $.h %>, command: <% $.c %>}",
        "{host: 'on <% $.h %>', command: ['{{ _.c }}', a]}",
        # StackStorm reads text as the type of the parameter.
        '{host: h, command: \'["int 1", "shut"]\', any: {a: 1}}',
        "{host: null}",
    ],
)
def test_validate_accepts_values_that_stackstorm_accepts(given: str) -> None:
    assert not validate(workbook(f"typed: {{action: examples.typed, input: {given}}}"), Catalogue())


def test_refused_value_has_its_line() -> None:
    text = """
    version: '2.0'
    tests.flow:
      tasks:
        one:
          action: examples.typed
          input:
            level: low
            host: 5
        two:
          action: st2.action
          input:
            ref: examples.typed
            parameters:
              host: 6
    """
    text = textwrap.dedent(text)
    problems = validate(Definition.parse(text, "flow.yaml"), Catalogue())
    lines = [line_of(text, problem.path) for problem in problems]
    assert [text.splitlines()[line - 1].strip() for line in lines if line] == ["host: 5", "host: 6"]


def test_case_casts() -> None:
    text = (Path(__file__).parents[2] / "data" / "cases" / "casts.yaml").read_text()
    known = Catalogue()
    known.st2["clicrud.config_command"] = known.st2["examples.typed"]
    problems = validate(Definition.parse(text, "casts.yaml"), known)
    assert [(line_of(text, problem.path), str(problem)) for problem in problems] == [
        (
            17,
            "workflow examples.casts, task c: clicrud.config_command refuses the value of host:"
            " 5 is not of type 'string'.",
        ),
        (24, "workflow examples.casts, task e: examples.off is disabled in StackStorm."),
    ]


@pytest.mark.parametrize(
    "call", ["nosuch", "tests.nosuch any='thing'", "nosuch, input: <% $.all %>", "other.flows"]
)
def test_validate_reports_an_unknown_workflow(call: str) -> None:
    (problem,) = validate(workbook(f"say: {{workflow: {call}}}"), Catalogue())
    name = re.split("[ ,]", call)[0]
    assert str(problem) == (
        f"workflow tests.book.main, task say: neither this workbook nor Mistral has a workflow {name}."
        " Publish it first. If StackStorm runs it, call it with 'action:'."
    )


def test_validate_reports_names_that_are_not_text() -> None:
    text = """
    version: '2.0'
    name: tests.book
    actions:
      2: {base: std.noop}
    workflows:
      main:
        tasks:
          3: {action: std.noop}
          on: {action: std.noop}
    """
    problems = validate(Definition.parse(textwrap.dedent(text), "book.yaml"), Catalogue())
    found = [(str(problem), line_of(textwrap.dedent(text), problem.path)) for problem in problems]
    assert found == [
        ("actions of tests.book: the name 2 is not text: put it in quotes.", 5),
        ("workflow tests.book.main: the name 3 is not text: put it in quotes.", 9),
        # YAML 1.1 reads "on" as True.
        ("workflow tests.book.main: the name True is not text: put it in quotes.", 8),
    ]


SUBS = """
version: '2.0'
name: tests.book
workflows:
  main:
    tasks:
      call: %s
  sub:
    input: [a, b: 1]
    tasks: {one: {action: std.noop}}
"""


def messages(task: str) -> str:
    found = validate(Definition.parse(SUBS % task, "book.yaml"), Catalogue())
    return "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("{action: st2.callback}", "st2.callback needs a state: SUCCESS"),
        ("{action: st2.callback, input: {result: 1}}", "st2.callback needs a state"),
        ("{action: st2.callback state='DONE'}", "state: 'DONE' is not a final state. Use SUCCESS"),
        ("{action: st2.callback, input: {state: null}}", "state: None is not a final state"),
        (
            "{action: st2.callback state='ERROR' output='x'}",
            "st2.callback has no input output. It takes: state",
        ),
        ("{action: st2.callback state=SUCCESS}", "Mistral ignores state="),
        ("{workflow: sub}", "Invalid input: the workflow sub needs a."),
        (
            "{workflow: '!my_action a=1'}",
            "'!my_action a=1' does not start with the name of a workflow.",
        ),
        ("{workflow: sub b=2}", "Invalid input: the workflow sub needs a."),
        (
            "{workflow: sub, input: {a: 1, c: 2}}",
            "Invalid input: the workflow sub has no c. It takes: a, b.",
        ),
        (
            "{workflow: tests.book.sub, input: {b: 1}}",
            "Invalid input: the workflow tests.book.sub needs a.",
        ),
    ],
)
def test_validate_reports_calls_of_callback_and_workflows(task: str, words: str) -> None:
    assert f"workflow tests.book.main, task call: {words}" in messages(task)


@pytest.mark.parametrize(
    "task",
    [
        "{action: st2.callback state='succeeded' result=<% $.x %>}",
        "{action: st2.callback, input: {state: <% $.state %>}}",
        "{action: st2.callback, input: <% $.all %>}",
        "{workflow: sub a=1}",
        "{workflow: sub, input: {a: <% $.x %>, b: 2, task_name: one, env: {}}}",
        "{workflow: sub, input: <% $.all %>}",
        "{workflow: '<% $.which %>'}",
        # Mistral has this workflow. Its inputs are not validated.
        "{workflow: other.flow x=1}",
        "{workflow: [a]}",
    ],
)
def test_validate_accepts_valid_and_unknowable_calls(task: str) -> None:
    assert messages(task) == ""
