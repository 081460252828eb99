"""Rewriting of StackStorm actions by their plain names, and additions before a start."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import pytest
from mistral.utils import safe_yaml
from support.catalogue import Catalogue

from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.rewrite import resolved_places, rewrite


def workbook(tasks: str, actions: str = "") -> Definition:
    body = textwrap.indent(textwrap.dedent(tasks).strip("\n"), " " * 6)
    extra = textwrap.indent(textwrap.dedent(actions).strip("\n"), "  ")
    head = "version: '2.0'\nname: tests.book\n" + (f"actions:\n{extra}\n" if actions else "")
    return Definition.parse(f"{head}workflows:\n  main:\n    tasks:\n{body}\n", "book.yaml")


def rewritten(definition: Definition, *, for_start: bool = False) -> dict[str, Any]:
    """Return the rewritten tasks as Mistral reads them."""
    made = rewrite(definition, Catalogue(), for_start=for_start)
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
def test_rewrite_a_task_in_each_form(task: str) -> None:
    tasks = rewritten(workbook(f"say: {task}"))
    assert tasks == {"say": {"action": "st2.action", "input": CALL}}


def test_line_and_input_are_merged() -> None:
    tasks = rewritten(workbook("say: {action: core.local cmd='date' timeout=5, input: {cwd: /tmp}}"))
    assert tasks["say"]["input"]["parameters"] == {"cwd": "/tmp", "cmd": "date", "timeout": 5}


KEY = "{{ st2kv.system.x }}"


@pytest.mark.parametrize(
    ("task", "place"),
    [
        (f"{{action: core.local, input: {{cmd: '{KEY}'}}}}", ("input", "cmd")),
        (f"{{action: 'core.local cmd=\"{KEY}\"'}}", ("action",)),
        (
            f"{{action: st2.action, input: {{ref: core.local, parameters: {{cmd: '{KEY}'}}}}}}",
            ("input", "parameters", "cmd"),
        ),
    ],
)
def test_key_of_the_datastore_is_left_to_stackstorm(task: str, place: tuple[str, ...]) -> None:
    definition = workbook(f"say: {task}")
    made = rewritten(definition)["say"]["input"]
    assert made == {
        "ref": "core.local",
        "parameters": {"cmd": '{{ "{{ st2kv.system.x }}" }}'},
        "render_jinja": ["cmd"],
    }
    path = ("workflows", "main", "tasks", "say", *place)
    assert resolved_places(definition, Catalogue()) == {path}


def test_key_is_left_to_stackstorm_in_an_ad_hoc_action() -> None:
    action = f"say: {{base: core.local, base-input: {{cmd: '{KEY}'}}}}"
    definition = workbook("one: {action: std.noop}", action)
    made = rewrite(definition, Catalogue(), for_start=False).data["actions"]["say"]["base-input"]
    assert made["render_jinja"] == ["cmd"]
    assert "st2_context" in made
    assert resolved_places(definition, Catalogue()) == {("actions", "say", "base-input", "cmd")}


@pytest.mark.parametrize(
    "task",
    [
        f"{{action: std.echo, input: {{output: '{KEY}'}}}}",
        f"{{action: core.local, input: {{cmd: '{KEY} {{{{ _.x }}}}'}}}}",
        f"{{action: st2.action, input: {{ref: core.local, parameters: '{KEY}'}}}}",
        f"{{workflow: main, input: {{x: '{KEY}'}}}}",
        f"{{action: '=', input: {{x: '{KEY}'}}}}",
    ],
)
def test_key_elsewhere_is_not_left_to_stackstorm(task: str) -> None:
    definition = workbook(f"say: {task}")
    assert "render_jinja" not in str(rewritten(definition))
    assert resolved_places(definition, Catalogue()) == set()


def test_rewrite_an_action_without_input() -> None:
    tasks = rewritten(workbook("rest: {action: core.noop}"))
    assert tasks["rest"] == {"action": "st2.action", "input": {"ref": "core.noop", "parameters": {}}}


def test_rewrite_an_input_that_is_an_expression() -> None:
    tasks = rewritten(workbook("say: {action: core.local, input: <% $.all %>}"))
    assert tasks["say"]["input"] == {"ref": "core.local", "parameters": "<% $.all %>"}


def test_other_keys_of_a_task_keep_their_order() -> None:
    tasks = rewritten(
        workbook(
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
def test_calls_that_are_not_rewritten(task: str) -> None:
    definition = workbook(f"say: {task}", "shell: {base: std.ssh, base-input: {cmd: <% $.line %>}}")
    known = Catalogue()
    known.mistral |= {"std.ssh"}
    assert rewrite(definition, known, for_start=False) is definition


def with_native() -> Catalogue:
    known = Catalogue()
    known.native = {"core.local"}
    return known


def test_native_actions_keep_their_names() -> None:
    definition = workbook(
        "say: {action: core.local cmd='date'}", "shell: {base: core.local, base-input: {cmd: date}}"
    )
    assert rewrite(definition, with_native(), for_start=False) is definition
    made = rewrite(definition, with_native())
    assert made.data["actions"] == definition.data["actions"]
    assert made.data["workflows"]["main"]["tasks"] == {
        "say": {"action": "core.local cmd='date'", "input": {"st2_context": {"task_name": "say"}}}
    }


@pytest.mark.parametrize(
    "task",
    [
        "{action: core.local, input: <% $.all %>}",
        "{action: core.local, input: {st2_context: <% $.context %>}}",
        "{action: core.local st2_context=<% $.context %>}",
        "{action: core.local, input: {st2_context: {task_name: say}}}",
    ],
)
def test_context_of_a_native_action_stays_as_it_is(task: str) -> None:
    definition = workbook(f"say: {task}")
    assert rewrite(definition, with_native()) is definition


def test_actions_that_are_not_native_are_rewritten_beside_native_ones() -> None:
    definition = workbook("say: {action: core.local cmd='date'}\nrest: {action: core.noop}")
    made = rewrite(definition, with_native(), for_start=False)
    tasks = made.data["workflows"]["main"]["tasks"]
    assert tasks["say"] == {"action": "core.local cmd='date'"}
    assert tasks["rest"]["action"] == "st2.action"


def test_parameter_for_stackstorm_makes_an_st2_action_of_a_native_one() -> None:
    definition = workbook(f"say: {{action: core.local, input: {{cmd: '{KEY}'}}}}")
    made = rewrite(definition, with_native())
    assert made.data == rewrite(definition, Catalogue()).data
    assert made.data["workflows"]["main"]["tasks"]["say"]["action"] == "st2.action"
    assert resolved_places(definition, with_native()) == resolved_places(definition, Catalogue())
    given = f"{{cmd: '{KEY}', st2_context: {{task_name: x}}}}"
    definition = workbook(f"say: {{action: core.local, input: {given}}}")
    made = rewrite(definition, with_native(), for_start=False)
    written = made.data["workflows"]["main"]["tasks"]["say"]["input"]
    assert written["st2_context"] == {"task_name": "x"}
    assert list(written["parameters"]) == ["cmd"]


def test_rewrite_an_ad_hoc_action() -> None:
    definition = workbook(
        "say: {action: shell line='date'}",
        "shell: {base: core.local timeout=5, base-input: {cmd: <% $.line %>}, input: [line]}",
    )
    made = rewrite(definition, Catalogue())
    shell = made.data["actions"]["shell"]
    assert list(shell) == ["base", "base-input", "input"]
    assert shell["base"] == "st2.action"
    assert shell["base-input"]["parameters"] == {"cmd": "<% $.line %>", "timeout": 5}
    assert shell["base-input"]["st2_context"].startswith("<% env()")
    assert made.data["workflows"] == definition.data["workflows"]


def test_rewrite_a_single_workflow() -> None:
    definition = Definition.parse("version: '2.0'\nmain: {tasks: {say: {action: core.noop}}}", "f")
    made = rewrite(definition, Catalogue())
    assert made.data["main"]["tasks"]["say"]["action"] == "st2.action"
    assert safe_yaml.load(made.text) == made.data


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
        "{action: '=x y=1'}",
        "{workflow: '=x y=1'}",
        "{action: core.lokal cmd='date'}",
    ],
)
def test_invalid_tasks_are_not_rewritten(task: str) -> None:
    definition = workbook(f"say: {task}")
    assert rewrite(definition, Catalogue()) is definition


@pytest.mark.parametrize("text", ["workflows: null", "workflows: {main: null}", "workflows: [1]"])
def test_invalid_workflows_are_not_rewritten(text: str) -> None:
    definition = Definition.parse(f"version: '2.0'\nname: book\nactions: [1]\n{text}", "f")
    assert rewrite(definition, Catalogue()) is definition


def test_rewrite_for_start_adds_task_names() -> None:
    tasks = rewritten(
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
        ),
        for_start=True,
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


def test_task_name_is_not_added_twice() -> None:
    definition = workbook(
        "say: {action: st2.action ref='core.noop', input: {st2_context: {task_name: say}}}"
    )
    assert rewrite(definition, Catalogue()) is definition


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
def test_rewrite_for_start_passes_the_environment_to_workflows_of_the_file(
    task: str, given: Any
) -> None:
    definition = Definition.parse(SUBS % f"call: {task}", "book.yaml")
    assert rewritten(definition, for_start=True)["call"].get("input") == given
    assert rewrite(definition, Catalogue(), for_start=False) is definition


@pytest.mark.parametrize(
    ("others", "yaql", "env"),
    [
        ("publish: {x: <% $.x %>}", False, "<% env() %>"),
        ("publish: {x: '{{ _.x }}'}", True, "{{ env() }}"),
        ("publish: {x: ['{% if 1 %}1{% endif %}']}", True, "{{ env() }}"),
        ("publish: {x: '{{ _.x }}', y: <% $.x %>}", False, "<% env() %>"),
        ("description: as in <% $.x %>, publish: {x: '{{ _.x }}'}", True, "{{ env() }}"),
        ("description: 'as in <% $.x %> and {{ _.x }}'", False, "{{ env() }}"),
        ("description: 'as in {{ _.x }}'", True, "<% env() %>"),
    ],
)
def test_added_expressions_are_in_a_language_that_mistral_allows(
    others: str, yaql: bool, env: str
) -> None:
    """The author's own languages are allowed. Without any, Mistral is asked."""
    catalogue = Catalogue()
    catalogue.yaql = yaql
    definition = Definition.parse(SUBS % f"call: {{workflow: sub, {others}}}", "book.yaml")
    made = rewrite(definition, catalogue)
    assert made.data["workflows"]["main"]["tasks"]["call"]["input"]["env"] == env
    assert ("allows_yaql" in catalogue.asked) is ("publish" not in others)


def test_a_language_is_chosen_only_for_an_expression_that_is_added() -> None:
    catalogue = Catalogue()
    rewrite(workbook("say: {action: core.noop}"), catalogue)
    assert catalogue.asked == ["core.noop"]


def test_jinja_for_the_context_of_an_ad_hoc_action() -> None:
    definition = workbook(
        "say: {action: shell}", "shell: {base: core.local, base-input: {cmd: '{{ _.line }}'}}"
    )
    given = rewrite(definition, Catalogue()).data["actions"]["shell"]["base-input"]["st2_context"]
    assert re.fullmatch(r"\{\{ env\(\)[^<%]* \}\}", given)


def test_rewrite_keeps_the_meaning_of_the_rest() -> None:
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
    made = rewrite(Definition.parse(text, "f"), Catalogue())
    after = safe_yaml.load(made.text)
    assert after["version"] == "2.0"
    assert "☃" in made.text
    assert after["workflows"]["main"].pop("tasks") != before["workflows"]["main"].pop("tasks")
    assert after == before
    assert list(after) == list(before)
