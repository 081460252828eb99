"""StackStorm actions by their plain names."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistral.utils import safe_yaml
from support.catalogue import Catalogue

from st2actions_mistral.dsl.definition import Definition, dump, load
from st2actions_mistral.dsl.lines import line_of
from st2actions_mistral.dsl.wrapping import examine, wrap


def workbook(tasks: str, actions: str = "") -> Definition:
    body = textwrap.indent(textwrap.dedent(tasks).strip("\n"), " " * 6)
    extra = textwrap.indent(textwrap.dedent(actions).strip("\n"), "  ")
    head = "version: '2.0'\nname: tests.book\n" + (f"actions:\n{extra}\n" if actions else "")
    return Definition.parse(f"{head}workflows:\n  main:\n    tasks:\n{body}\n", "book.yaml")


def wrapped(tasks: str) -> tuple[dict[str, Any], list[str]]:
    """The tasks, as Mistral reads them, and the problems."""
    made, problems = examine(workbook(tasks), Catalogue())
    return tasks_in(made), [str(problem) for problem in problems]


def started(definition: Definition) -> dict[str, Any]:
    """The tasks of what is to be started, as Mistral reads them."""
    made, problems = wrap(definition, Catalogue())
    assert problems == []
    return tasks_in(made)


def tasks_in(made: Definition) -> dict[str, Any]:
    parsed = safe_yaml.load(made.text)
    assert parsed == made.data
    tasks: dict[str, Any] = parsed["workflows"]["main"]["tasks"]
    return tasks


CALL = {"ref": "core.local", "parameters": {"cmd": "<% $.cmd %>"}}


@pytest.mark.parametrize(
    "task",
    [
        "{action: 'core.local cmd=<% $.cmd %>'}",
        "{action: core.local, input: {cmd: <% $.cmd %>}}",
        "{action: 'core.local cmd=<% $.cmd %>', input: {cmd: the line wins}}",
    ],
)
def test_a_task_in_each_form(task: str) -> None:
    tasks, problems = wrapped(f"say: {task}")
    assert tasks == {"say": {"action": "st2.action", "input": CALL}}
    assert problems == []


def test_line_and_input_are_merged() -> None:
    tasks, problems = wrapped("say: {action: core.local cmd='date' timeout=5, input: {cwd: /tmp}}")
    assert problems == []
    assert tasks["say"]["input"]["parameters"] == {"cwd": "/tmp", "cmd": "date", "timeout": 5}


def test_an_action_without_input() -> None:
    tasks, _ = wrapped("rest: {action: core.noop}")
    assert tasks["rest"] == {"action": "st2.action", "input": {"ref": "core.noop", "parameters": {}}}


def test_an_input_that_is_an_expression() -> None:
    tasks, problems = wrapped("say: {action: core.local, input: <% $.all %>}")
    assert tasks["say"]["input"] == {"ref": "core.local", "parameters": "<% $.all %>"}
    assert problems == []


def test_the_rest_of_a_task_stays_in_its_order() -> None:
    tasks, _ = wrapped(
        """
        say:
          with-items: host in <% $.hosts %>
          action: core.local cmd="ping <% $.host %>"
          publish: {out: <% task().result %>}
          retry: {count: 3, delay: 1}
          on-success: [next]
        next: {action: std.noop}
        """
    )
    assert list(tasks["say"]) == ["with-items", "action", "input", "publish", "retry", "on-success"]
    assert tasks["say"]["retry"] == {"count": 3, "delay": 1}
    assert tasks["next"] == {"action": "std.noop"}


@pytest.mark.parametrize(
    "task",
    [
        "{action: std.echo output='hello'}",
        "{action: st2.callback state='SUCCESS'}",
        "{action: other.shell}",
        "{action: std.echo output=hello}",
        "{action: <% $.action %> cmd='date'}",
        "{action: '{{ _.action }}'}",
        "{action: core.<% $.action %>}",
        "{action: shell line='date'}",
        "{action: tests.book.shell line='date'}",
        "{workflow: other.flow any='thing'}",
        "{workflow: main}",
        "{workflow: tests.book.main, input: <% $.all %>}",
        "{workflow: <% $.flow %>}",
        "{on-success: [say]}",
        "{action: st2.action, input: {ref: core.local, parameters: {cmd: date}}}",
        "{action: st2.action ref=<% $.ref %>, input: {parameters: {any: thing}}}",
        "{action: st2.action, input: <% $.call %>}",
        "{action: st2.action ref='core.local' parameters=<% $.all %>}",
    ],
)
def test_what_is_left_alone(task: str) -> None:
    definition = workbook(f"say: {task}", "shell: {base: std.ssh, base-input: {cmd: <% $.line %>}}")
    known = Catalogue()
    known.mistral |= {"std.ssh"}
    same, problems = examine(definition, known)
    assert same is definition
    assert problems == []


def test_stackstorm_is_not_asked_for_what_mistral_has() -> None:
    known = Catalogue()
    wrap(workbook("say: {action: std.echo output='hello'}"), known)
    assert known.asked == []


def test_an_ad_hoc_action() -> None:
    definition = workbook(
        "say: {action: shell line='date'}",
        "shell: {base: core.local timeout=5, base-input: {cmd: <% $.line %>}, input: [line]}",
    )
    made, problems = wrap(definition, Catalogue())
    assert problems == []
    shell = made.data["actions"]["shell"]
    assert list(shell) == ["base", "base-input", "input"]
    assert shell["base"] == "st2.action"
    assert shell["base-input"]["parameters"] == {"cmd": "<% $.line %>", "timeout": 5}
    assert "env()" in shell["base-input"]["st2_context"]
    assert made.data["workflows"] == definition.data["workflows"]


def test_a_workflow_of_its_own() -> None:
    definition = Definition.parse("version: '2.0'\nmain: {tasks: {say: {action: core.noop}}}", "f")
    made, problems = wrap(definition, Catalogue())
    assert problems == []
    assert made.data["main"]["tasks"]["say"]["action"] == "st2.action"
    _, (problem,) = wrap(
        Definition.parse("version: '2.0'\nmain: {tasks: {say: {action: core.local}}}", "f"),
        Catalogue(),
    )
    assert problem == "workflow main, task say: core.local needs cmd."


@pytest.mark.parametrize(
    "call", ["nosuch", "tests.nosuch any='thing'", "nosuch, input: <% $.all %>", "other.flows"]
)
def test_a_workflow_that_is_nowhere_is_told(call: str) -> None:
    _, (problem,) = wrap(workbook(f"say: {{workflow: {call}}}"), Catalogue())
    name = re.split("[ ,]", call)[0]
    assert problem == (
        f"workflow tests.book.main, task say: neither this workbook nor Mistral has a workflow {name}."
        " Publish it first, or call it with action: where StackStorm runs it."
    )


def test_all_that_is_wrong_is_told_at_once() -> None:
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
        """,
        "shell: {base: core.local}",
    )
    known = Catalogue()
    made, problems = wrap(definition, known)
    takes = "It takes: cmd, cwd, timeout."
    assert problems == [
        "action shell: core.local needs cmd.",
        *(
            f"workflow tests.book.main, task {problem}"
            for problem in [
                "missing: examples.mongo-db needs primary, members.",
                "nothing: core.local needs cmd.",
                f"more: core.local has no parameter cdw. {takes}",
                "more: core.local does not let itself be given sudo: immutable.",
                "unknown: neither Mistral nor StackStorm has an action core.lokal.",
                "short: Mistral has no action nosuch; one of StackStorm is called pack.action.",
                "both: input is an expression, so cmd cannot be given in action as well.",
                "words: input must be names and values, or an expression.",
                "bare: Mistral passes over cmd=… in action: put a text there in quotes.",
                "bare: core.local needs cmd.",
                "no_name: '=x y=1' begins with no name of an action.",
                "no_ref: st2.action has no input cmd. What is meant for the StackStorm action goes"
                " below parameters.",
                "no_ref: st2.action needs a ref, the name of a StackStorm action.",
                "odd_ref: ref must be the name of a StackStorm action, as pack.action.",
                "bad_ref: StackStorm has no action local.",
                "explicit: core.local needs cmd.",
                f"explicit: core.local has no parameter x. {takes}",
                "parameters: parameters must be names and values, or an expression.",
            ]
        ),
    ]
    # What is known is wrapped all the same; what is not is left to Mistral.
    assert made.data["workflows"]["main"]["tasks"]["missing"]["action"] == "st2.action"
    assert made.data["workflows"]["main"]["tasks"]["unknown"]["action"] == "core.lokal cmd='date'"
    assert "local" not in known.asked


def test_a_problem_knows_its_place_in_the_file() -> None:
    _, problems = examine(
        workbook("say: {action: core.local}", "shell: {base: core.local}"), Catalogue()
    )
    assert [problem.path for problem in problems] == [
        ("actions", "shell"),
        ("workflows", "main", "tasks", "say"),
    ]


@pytest.mark.parametrize(
    "task",
    [
        "null",
        "{action: null}",
        "{action: 5}",
        "{action: ''}",
        "{action: core.noop, input: [1]}",
        "core.local",
        "[core.local]",
    ],
)
def test_what_is_no_task_is_left_to_mistral(task: str) -> None:
    definition = workbook(f"say: {task}")
    same, problems = wrap(definition, Catalogue())
    assert same is definition
    assert problems == []


@pytest.mark.parametrize("text", ["workflows: null", "workflows: {main: null}", "workflows: [1]"])
def test_what_is_no_workflow_is_left_to_mistral(text: str) -> None:
    definition = Definition.parse(f"version: '2.0'\nname: book\nactions: [1]\n{text}", "f")
    assert wrap(definition, Catalogue()) == (definition, [])


def test_a_name_that_is_no_text_is_told_with_its_line() -> None:
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
    _, problems = examine(Definition.parse(textwrap.dedent(text), "book.yaml"), Catalogue())
    said = [(str(problem), line_of(textwrap.dedent(text), problem.path)) for problem in problems]
    assert said == [
        ("actions of tests.book: the name 2 is no text: put it in quotes.", 5),
        ("workflow tests.book.main: the name 3 is no text: put it in quotes.", 9),
        # What was written there is gone.
        ("workflow tests.book.main: the name True is no text: put it in quotes.", 8),
    ]


def test_what_is_started_is_told_the_names_of_its_tasks() -> None:
    tasks = started(
        workbook(
            """
        plain: {action: core.noop}
        explicit: {action: st2.action, input: {ref: core.noop, parameters: {}}}
        line: {action: st2.action ref='core.noop'}
        context: {action: st2.action ref='core.noop', input: {st2_context: {notify: {}}}}
        computed: {action: st2.action ref='core.noop', input: {st2_context: <% $.context %>}}
        inline: {action: st2.action ref='core.noop' st2_context=<% $.context %>}
        whole: {action: st2.action, input: <% $.call %>}
        other: {action: std.noop}
        """
        )
    )
    assert {name: task.get("input") for name, task in tasks.items()} == {
        "plain": {"ref": "core.noop", "parameters": {}, "st2_context": {"task_name": "plain"}},
        "explicit": {"ref": "core.noop", "parameters": {}, "st2_context": {"task_name": "explicit"}},
        "line": {"st2_context": {"task_name": "line"}},
        "context": {"st2_context": {"notify": {}, "task_name": "context"}},
        "computed": {"st2_context": "<% $.context %>"},
        "inline": None,
        "whole": "<% $.call %>",
        "other": None,
    }
    assert tasks["line"]["action"] == "st2.action ref='core.noop'"


def test_a_task_that_knows_its_name_already_is_left_alone() -> None:
    definition = workbook(
        "say: {action: st2.action ref='core.noop', input: {st2_context: {task_name: say}}}"
    )
    same, _ = wrap(definition, Catalogue())
    assert same is definition


SUBS = """
version: '2.0'
name: tests.book
workflows:
  main:
    tasks:
      %s
  sub: {input: [a: 1], tasks: {one: {action: std.noop}}}
  own: {input: [env: prod], tasks: {one: {action: std.noop}}}
"""
ENVIRONMENT = {"env": "<% env() %>", "evaluate_env": False}


@pytest.mark.parametrize(
    ("task", "given"),
    [
        ("{workflow: sub}", ENVIRONMENT),
        ("{workflow: sub a=2}", ENVIRONMENT),
        ("{workflow: tests.book.sub, input: {a: 2}}", {"a": 2, **ENVIRONMENT}),
        ("{workflow: main, with-items: 'i in [1]'}", ENVIRONMENT),
        ("{workflow: sub, input: {env: {x: 1}}}", {"env": {"x": 1}}),
        ("{workflow: sub evaluate_env=true}", None),
        ("{workflow: sub, input: <% $.all %>}", "<% $.all %>"),
        ("{workflow: own}", None),
        ("{workflow: other.flow}", None),
        ("{workflow: '<% $.flow %>'}", None),
    ],
)
def test_the_environment_is_handed_on_to_workflows_of_the_same_file(task: str, given: Any) -> None:
    """An input of that name, or an environment of the author's, is not touched."""
    definition = Definition.parse(SUBS % f"call: {task}", "book.yaml")
    assert started(definition)["call"].get("input") == given
    looked_at, _ = examine(definition, Catalogue())
    assert looked_at is definition


def test_the_meaning_of_all_else_is_kept() -> None:
    rest = """
        input:
          - when: 2026-11-23
          - moment: 2026-11-23T04:16:07.5+01:00
          - count: 0x10
          - ratio: .5
          - nothing: null
          - "yes": "no"
          - really: yes
          - version: '2.0'
          - digits: '007'
          - path: "&whole *all @home"
          - pattern: *.py
          - owner: @me
          - text: |
              one
                two {{ _.x }}
          - name: Zoë ☃ "quoted" 'twice'
          - control: "\\x07\\u2028"
          - long: "%s"
    """ % ("word " * 200)
    text = (
        "version: '2.0'\nname: tests.book\ndescription: ünïcode  # gone\nworkflows:\n  main:"
        + textwrap.indent(textwrap.dedent(rest), "    ")
        + "    tasks:\n      say: {action: core.noop}\n"
    )
    before = safe_yaml.load(text)
    made, _ = wrap(Definition.parse(text, "f"), Catalogue())
    after = safe_yaml.load(made.text)
    assert after["version"] == "2.0"
    assert "☃" in made.text
    assert after["workflows"]["main"].pop("tasks") != before["workflows"]["main"].pop("tasks")
    assert after == before
    assert list(after) == list(before)


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@given(VALUES)
def test_what_is_dumped_is_read_again_by_us_and_by_mistral(value: Any) -> None:
    text = dump({"top": value})
    assert load(text, "f") == {"top": value}
    assert safe_yaml.load(text) == {"top": value}
