"""Conversion of whole workbooks: the new text, and the places that only the author can decide."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
import yaql
from hypothesis import given, settings
from hypothesis import strategies as st

from st2actions_mistral.dsl.mistral_yaml import dump, load
from st2actions_mistral.errors import InputError
from st2actions_mistral.migrate.convert import Converted, convert

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "actions" / "workflows").glob("*.yaml"))
OF_2014 = sorted((ROOT / "tests" / "data" / "2014").glob("*.yaml"))

HEAD = """\
name: p.a
version: '2.0'
workflows:
  main:
    input: [x, y, list]
    tasks:
      other:
        action: std.noop
        publish: {z: 1}
      own-task:
"""
FIRST = HEAD.count("\n") + 1


def task(lines: str) -> Converted:
    """Convert a workbook to which one task is added."""
    return convert(HEAD + textwrap.indent(textwrap.dedent(lines).strip("\n"), " " * 8) + "\n", "file")


def undecided(converted: Converted) -> list[tuple[int, str]]:
    """Return the undecided places, with lines counted from the first of the task."""
    return [(one.line - FIRST + 1, one.message) for one in converted.undecided]


def body(converted: Converted) -> str:
    assert converted.text.startswith(HEAD)
    return textwrap.dedent(converted.text[len(HEAD) :]).strip("\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("input: {a: $.x}", "input: {a: <% $.x %>}"),
        ("input: $.x", "input: <% $.x %>"),
        ("input: {a: '$.x'}  # why", "input: {a: '<% $.x %>'}  # why"),
        ("input: {a: [1, {b: $.x.c}]}", "input: {a: [1, {b: <% $.x.c %>}]}"),
        ("input: {a: 'is {$.x}, {$.y}'}", "input: {a: 'is <% $.x %>, <% $.y %>'}"),
        ("input: {a: '{$.x}'}", "input: {a: '<% $.x %>'}"),
        ("input: {a: $.x + $.y * 2}", "input: {a: <% $.x + $.y * 2 %>}"),
        ("input: {a: $.x.length()}", "input: {a: <% $.x.len() %>}"),
        ("input: {a: '$.list[$.b = 1]'}", "input: {a: '<% $.list.where($.b = 1) %>'}"),
        ("input: {a: '$.list[$ > 1][0]'}", "input: {a: '<% $.list.where($ > 1).toList()[0] %>'}"),
        ("input: {a: '$.list[0].b'}", "input: {a: '<% $.list[0].b %>'}"),
        ("input: {a: '$.list.b[0].c[-1]'}", "input: {a: '<% $.list.b.toList()[0].c.toList()[-1] %>'}"),
        ("input: {a: '$.list.b[''c''][c]'}", "input: {a: '<% $.list.b[''c''][c] %>'}"),
        ("input: {a: '$.list[$.b[0] = 1]'}", "input: {a: '<% $.list.where($.b.toList()[0] = 1) %>'}"),
        ("input: {a: <% $.x %>}", "input: {a: <% $.x %>}"),
        ("action: std.echo output='{$.x}!'", "action: std.echo output='<% $.x %>!'"),
        ("action: std.echo output=$.x", "action: std.echo output=<% $.x %>"),
        ('action: std.echo output="$.x"', 'action: std.echo output="<% $.x %>"'),
        ("action: std.echo output={$.x}", "action: std.echo output=<% $.x %>"),
        ("workflow: sub a={$.x} b=1", "workflow: sub a=<% $.x %> b=1"),
        ("with-items: i in $.list", "with-items: i in <% $.list %>"),
        ("with-items: [i in $.list, 'j in [1, 2]']", "with-items: [i in <% $.list %>, 'j in [1, 2]']"),
        ("with-items: i in {$.list}", "with-items: i in <% $.list %>"),
        ("on-success: [other: $.x > 1]", "on-success: [other: <% $.x > 1 %>]"),
        ("on-success: [other: not $.x]", "on-success: [other: <% not $.x %>]"),
        (
            "on-error: [{other: '$.x = ''a'' and $.y'}]",
            "on-error: [{other: '<% $.x = ''a'' and $.y %>'}]",
        ),
        ("on-finish: [other]", "on-complete: [other]"),
        ("parameters: {a: 1}", "input: {a: 1}"),
        ("workflow-parameters: {a: $.x}", "input: {a: <% $.x %>}"),
        (
            "policies:\n  timeout: $.x +\n    $.y\n  concurrency: 5",
            "timeout: <% $.x + $.y %>\nconcurrency: 5",
        ),
        ("input: {a: <% $.x %>, b: '{{ _.x }}', c: 'echo ${x}'}",) * 2,
        (
            "action: st2.action ref='core.remote'\npublish: {v: $.h.a}",
            "action: st2.action ref='core.remote'\npublish: {v: <% task('own-task').result.h.a %>}",
        ),
        ("type: direct\njoin: all", "type: direct\njoin: all"),
        ("publish: {w: $.w}", "publish: {w: <% task('own-task').result.w %>}"),
        ("publish: {v: $.a.b}", "publish: {v: <% task('own-task').result.a.b %>}"),
        ("publish: {v: $}", "publish: {v: <% task('own-task').result %>}"),
        ("publish: {v: 'is {$.a}'}", "publish: {v: 'is <% task(''own-task'').result.a %>'}"),
        ("input: {a: $.other.b}", "input: {a: <% task('other').result.b %>}"),
        ("input: {a: $.z}", "input: {a: <% $.z %>}"),
        ("input: {a: '$.task.other.z.b[0]'}", "input: {a: '<% $.z.b.toList()[0] %>'}"),
        ("publish: {v: $.task.other.z}", "publish: {v: <% $.z %>}"),
        ("publish: {v: $.task.z}", "publish: {v: <% task('own-task').result.task.z %>}"),
        ("input: {a: $.__env.b.c}", "input: {a: <% env().b.c %>}"),
        ("input: {a: 'is {$.__env}'}", "input: {a: 'is <% env() %>'}"),
        ("input: {a: '$.__env.__b.c'}", "input: {a: '<% env().get(''__b'').c %>'}"),
        ("input: {a: $.__execution.id}", "input: {a: <% execution().id %>}"),
        ("publish: {v: $.__execution.id}", "publish: {v: <% execution().id %>}"),
        (
            "with-items: i in $.list\ninput: {a: $.i}",
            "with-items: i in <% $.list %>\ninput: {a: <% $.i %>}",
        ),
        ("policies:\n  wait-after: $.x", "wait-after: <% $.x %>"),
        ("policies:\n    # why\n    timeout: 5  # s", "# why\ntimeout: 5  # s"),
        ("policies:  # why\n  timeout: 5\njoin: all", "# why\ntimeout: 5\njoin: all"),
        (
            "policies:\n  retry: count={$.x} delay=1 # why",
            "retry: count=<% $.x %> delay=1 # why",
        ),
        ("retry: count=$.x delay=$.y", "retry: count=<% $.x %> delay=<% $.y %>"),
        ("policies:\njoin: all", "join: all"),
        ("join: all\npolicies: {}", "join: all"),
        ("join: all\npolicies: {\n  }\ntimeout: $.x", "join: all\ntimeout: <% $.x %>"),
        ("join: all\npolicies:  # why\ntimeout: 1", "join: all\n  # why\ntimeout: 1"),
        ("join: all\npolicies:\n  retry:\n  timeout: 5", "join: all\ntimeout: 5"),
        ("join: all\npolicies:\n  retry:\n  timeout: ~", "join: all"),
        # Keys with nothing behind them.
        ("publish:\njoin: all", "join: all"),
        ("join: all\ninput: {}\non-success: []\non-error:\npublish: ~\ndescription: ''", "join: all"),
        ("{join: all, publish: , input: {}}", "{join: all}"),
        ("join: all\npublish:  # why", "join: all\n  # why"),
        ("retry: {count: 1, delay: 1, break-on: }", "retry: {count: 1, delay: 1 }"),
        ("publish: {a: }\ninput: {b: null}", "publish: {a: }\ninput: {b: null}"),
        # Transitions with nothing behind them.
        ("on-success:\n  - other:\n  - next: $.x", "on-success:\n  - other\n  - next: <% $.x %>"),
        ("on-success:\n  - other: ~  # why\n", "on-success:\n  - other  # why"),
        ("on-finish: [other: , {next: null}, last]", "on-complete: [other, next, last]"),
        ("retry: {count: 1, delay: 2}\npolicies: ''", "retry: {count: 1, delay: 2}"),
        ("policies: {timeout: 5, concurrency: 2}", "timeout: 5\nconcurrency: 2"),
        ("policies:\n  retry:\n    count: $.x\n    delay: 1", "retry:\n  count: <% $.x %>\n  delay: 1"),
        (
            "retry: {count: 1, delay: 1, break-on: $.a = 1}",
            "retry: {count: 1, delay: 1, break-on: <% task('own-task').result.a = 1 %>}",
        ),
    ],
)
def test_convert_translates_constructs_of_2014(old: str, new: str) -> None:
    converted = task(old)
    assert body(converted) == new
    assert not converted.undecided
    assert convert(converted.text, "file") == Converted(converted.text, [])


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        # These may not be expressions.
        ("input: {a: echo $.x}", None, 1, "not changed: $.x"),
        ("input: {a: 'echo ${x}'}", None, 1, "not changed: ${x}"),
        ("input: {a: '{{ x }}'}", None, 1, "not changed: {{ x }}"),
        ("input: {a: '{{$.x}}'}", None, 1, "not changed: {$.x}"),
        ("input: {a: $HOME/bin}", None, 1, "not changed: $HOME/bin"),
        ("input: {a: $5}", None, 1, "not changed: $5"),
        ("input: {a: $. x}", None, 1, "not changed: $. x"),
        ("input: {a: $.x. y}", None, 1, "not changed: $.x. y"),
        ("input: {a: $}", None, 1, "not changed: $"),
        ("input: {a: $.x and pay}", None, 1, "not changed: $.x and pay"),
        ("input: {a: \"awk '{$1}'\"}", None, 1, "not changed: {$1}"),
        ("input: {a: '<% $.x %> {$.x}'}", None, 1, "both kinds"),
        ("input: {a: {$.x}}", None, 1, "{$.x} is a mapping"),
        ("input:\n  b: *x", None, 2, "no anchors"),
        ("input:\n  a: |\n    one\n    two {$1}", None, 4, "not changed: {$1}"),
        ('action: std.echo output="{$.other.b}"', None, 1, "not changed: {$.other.b}"),
        ("for-each: {a: $.x}", None, 1, "for-each is not a key of a task"),
        ("retry: count=1 delay=1 break-on={$.a}", None, 1, "not changed: {$.a}"),
        (
            "retry: count=1 delay=1 break-on='{$.x}'",
            "retry: count=1 delay=1 break-on='<% $.x %>'",
            1,
            "$.x was read as the variable",
        ),
        ("policies: [1]", None, 1, "policies is not a mapping"),
        ("policies:", "{}", 1, "the task own-task has no keys"),
        ("publish:\n", "{}", 1, "the task own-task has no keys"),
        ("timeout: *t", None, 1, "reads *t as text"),
        ("timeout: &t 5", None, 1, "reads &t 5 as text"),
        ("policies: {timeout: 1}\ntimeout: 2", None, 1, "timeout is in policies and in the task"),
        ("on-finish: [other]\non-complete: [other]", None, 1, "on-finish is called on-complete today"),
        # This must be an expression.
        (
            "on-success: [other: $.x ~ 1]",
            "on-success: [other: <% $.x ~ 1 %>]",
            1,
            "cannot parse the expression",
        ),
        ("input: {a: $.x.sum()}", "input: {a: <% $.x.sum() %>}", 1, "function sum()"),
        ("input: {a: $.no}", "input: {a: <% $.no %>}", 1, "$.no is not defined"),
        (
            "input: {a: $.__execution.start_params}",
            "input: {a: <% execution().start_params %>}",
            1,
            "execution() has no start_params",
        ),
        ("input: {a: $.__other.b}", "input: {a: <% $.__other.b %>}", 1, "use env() or execution()"),
        (
            "input: {a: $.task}",
            "input: {a: <% $.task %>}",
            1,
            "$.task is an error today",
        ),
        (
            "input: {a: $.task.no.z}",
            "input: {a: <% $.task.no.z %>}",
            1,
            "$.task.no.z is an error today",
        ),
        (
            "input: {a: $.task.other}",
            "input: {a: <% $.task.other %>}",
            1,
            "all variables that other publishes",
        ),
        (
            "input: {a: $.task.other.y}",
            "input: {a: <% $.task.other.y %>}",
            1,
            "other publishes no y: $.task.other.y was null",
        ),
        (
            "input: {a: $.task.other.z}\npublish: {z: 1}",
            "input: {a: <% $.z %>}\npublish: {z: 1}",
            1,
            "$.task.other.z was read as $.z, which own-task publishes as well",
        ),
        ("publish: {v: $.x}", "publish: {v: <% $.x %>}", 1, "read as the variable"),
        (
            "publish: {x: $.x}",
            "publish: {x: <% task('own-task').result.x %>}",
            1,
            "read as the task's result",
        ),
        (
            "action: st2.action ref='p.a'\npublish:\n  v: $.a",
            "action: st2.action ref='p.a'\npublish:\n  v: <% task('own-task').result.result.a %>",
            3,
            "if p.a is not one",
        ),
        (
            "action: p.a b=$.x\npublish: {v: $.a}",
            "action: p.a b=<% $.x %>\npublish: {v: <% task('own-task').result.result.a %>}",
            2,
            "write task('own-task').result.a if p.a is not one",
        ),
        (
            "action: st2.action ref='p.a'\npublish: {v: $}",
            "action: st2.action ref='p.a'\npublish: {v: <% task('own-task').result %>}",
            2,
            "is below 'result'",
        ),
        (
            "with-items: i in $.list\npublish: {v: $.a}",
            "with-items: i in <% $.list %>\npublish: {v: <% task('own-task').result.a %>}",
            2,
            "is read from a list",
        ),
    ],
)
def test_convert_reports_what_the_author_must_decide(
    old: str, new: str | None, line: int, words: str
) -> None:
    converted = task(old)
    assert body(converted) == (old if new is None else new)
    ((found_line, found_message),) = undecided(converted)
    assert found_line == line
    assert words in found_message
    assert convert(converted.text, "file").text == converted.text


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ("input: {a: <% $.other.stdout %>}", "replace $.other, the result of a task"),
        ("action: std.echo output=<% len($.other) %>", "with task('other').result"),
        ("on-success: [other: <% $.other = 1 %>]", "replace $.other"),
        ("publish: {v: 'is <% ($.own-task) %> <% $.other.b %>'}", "replace $.other"),
        ("input: {a: '<% $.list[$.a = 1] %>'}", "with .where(…)"),
        ("input: {a: '<% $.list[($.a.b[0] = 1) and $.c] %>'}", "with .where(…)"),
        ("input: {a: '<% $.list.where($.a = 1)[len($.b) > 1] %>'}", "with .where(…)"),
        ("input: {a: <% $.list.length() + 1 %>}", "replace .length() with .len()"),
        ("with-items: i in <% $.__env.b %>", "replace $.__env with env()"),
        ("policies: {wait-after: <% $.__execution.b %>}", "replace $.__execution with execution()"),
    ],
)
def test_convert_reports_outdated_syntax_in_todays_brackets(old: str, words: str) -> None:
    converted = task(old)
    ((line, message),) = undecided(converted)
    assert (line, words in message) == (1, True)
    assert "policies" in old or body(converted) == old


def test_outdated_syntax_in_a_block_is_reported_with_its_own_line() -> None:
    assert (
        task("input:\n  a: |\n    <% $.x %>\n    <% $.list.length() %>").undecided[0].line == FIRST + 3
    )


def test_outdated_syntax_is_reported_in_outputs_and_ad_hoc_actions() -> None:
    actions = "actions:\n  mine: {base: std.echo, output: <% $.length() %>}\nworkflows:"
    text = HEAD.replace("workflows:", actions)
    text = text.replace("    tasks:", "    output: {a: <% $.other %>}\n    tasks:") + " " * 8
    converted = convert(f"{text}action: mine\n", "file")
    assert [one.line for one in converted.undecided] == [4, 8]


@pytest.mark.parametrize(
    "value",
    [
        "$.x",
        "$.z.other",
        "$.list.where($.other)",
        "$.list.select(len($.other))",
        "$.list[$.x]",
        "$.list[$.list.where($.a = 1).len() - 1]",
        "$.list[len($.list) - 1]",
        "[$.x = 1, $.y > 1]",
        "$.x in [$.y = 1]",
        "$.x = '$.other' and $.y != \"$.list[$.a = 1].length()\"",
        "dict(a => $.x, other => 1)",
        "$.x.length",
        "$other.a + $1",
        "length($.x)",
        "task(other).result",
        ")]",
    ],
)
def test_convert_does_not_report_todays_syntax(value: str) -> None:
    text = load(dump({"input": {"a": f"<% {value} %>"}}), "file")
    assert not task(dump(text)).undecided


@pytest.mark.parametrize(
    "published",
    [
        "publish: {other: 1}",
        "publish-on-skip: {other: 1}",
        "on-complete: {publish: {branch: {other: 1}}}",
        "on-success: {publish: {global: {other: 1}}, next: [other]}",
        "with-items: other in <% $.list %>",
    ],
)
def test_a_variable_that_the_task_publishes_is_not_read_as_a_task(published: str) -> None:
    assert not task(f"input: {{a: <% $.other %>}}\n{published}").undecided


def test_a_variable_that_task_defaults_publish_is_not_read_as_a_task() -> None:
    defaults = "    task-defaults: {on-error: {publish: {branch: {other: 1}}}}\n    tasks:\n"
    text = HEAD.replace("    tasks:\n", defaults) + "        input: {a: <% $.other %>}\n"
    assert not convert(text, "file").undecided


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{policies: {}}", "{}"),
        ("{policies: }", "{ }"),
        ("{policies: {}, join: all}", "{join: all}"),
        ("{join: all, policies: }", "{join: all }"),
        ("{join: all, policies: null, timeout: 1}", "{join: all, timeout: 1}"),
    ],
)
def test_empty_policies_are_removed(old: str, new: str) -> None:
    start = HEAD.rstrip("\n")
    assert convert(f"{start} {old}\n", "file").text == f"{start} {new}\n"


RUNNERS = {"p.flow": "mistral-v2", "p.code": "python-script", "p.shell": "remote-shell-script"}


@pytest.mark.parametrize(
    ("action", "publish", "resolved", "words"),
    [
        ("p.flow", "$.a", "task('own-task').result.output.a", None),
        ("st2.action ref='p.flow'", "$.a.b", "task('own-task').result.output.a.b", None),
        ("p.flow", "$.stdout", "task('own-task').result.output.stdout", None),
        ("p.flow", "$.tasks", "task('own-task').result.tasks", None),
        ("p.flow", "$.extra.state", "task('own-task').result.extra.state", ".result.state"),
        ("p.flow", "$", "task('own-task').result", "the output of the workflow is below 'output'"),
        ("p.code", "$.a", "task('own-task').result.result.a", None),
        ("p.code", "$.stdout", "task('own-task').result.stdout", None),
        ("p.shell", "$.a", "task('own-task').result.a", None),
        ("p.shell", "$", "task('own-task').result", None),
        ("mine", "$.a", "task('own-task').result.output.a", None),
    ],
)
def test_result_has_the_shape_of_the_runner(
    action: str, publish: str, resolved: str, words: str | None
) -> None:
    head = HEAD.replace("workflows:", "actions:\n  mine: {base: p.flow}\nworkflows:")
    old = f"{head}        action: {action}\n        publish: {{v: {publish}}}\n"
    converted = convert(old, "file", RUNNERS.get)
    assert converted.text.endswith(f"publish: {{v: <% {resolved} %>}}\n")
    assert len(converted.undecided) == (words is not None)
    assert words is None or words in converted.undecided[0].message


def test_ad_hoc_output_has_the_shape_of_the_runner() -> None:
    old = HEAD.replace("workflows:", "actions:\n  mine: {base: p.flow, output: $.a}\nworkflows:")
    converted = convert(f"{old}        action: mine\n        publish: {{v: $}}\n", "file", RUNNERS.get)
    assert "output: <% $.output.a %>" in converted.text
    assert "publish: {v: <% task('own-task').result %>}" in converted.text
    assert not converted.undecided


@pytest.mark.parametrize(
    "value",
    [
        "<% task(own-task).result.a %>",
        "is {{ task().result.a }}",
        "{{ _.x }}{% if task('own-task').result.a %}1{% endif %}",
        "<% format('{}', $.x) %>",
        "<% json_dumb($.x) %>",
        "<% my_function($.x) %>",
        "{{ _.x | json_dumb }}",
        "<% $.openstack.auth_token %>",
        "$.openstack.auth_token",
    ],
)
def test_moved_results_and_functions_that_are_gone_are_reported(value: str) -> None:
    old = f'{HEAD}        action: p.flow\n        publish: {{v: "{value}"}}\n'
    converted = convert(old, "file", RUNNERS.get)
    assert [one.line for one in converted.undecided] == [FIRST + 1]


def test_case_caller14_reads_the_output_of_a_workflow() -> None:
    text = (ROOT / "tests" / "data" / "cases" / "caller14.yaml").read_text()
    converted = convert(text, "caller14.yaml", {"examples.child": "mistral-v2"}.get)
    assert not converted.undecided
    assert "said: <% task('ask').result.output.greeting %>" in converted.text


def test_case_child_is_valid_today() -> None:
    text = (ROOT / "tests" / "data" / "cases" / "child.yaml").read_text()
    assert convert(text, "child.yaml") == Converted(text, [])


def test_empty_tasks_are_reported() -> None:
    converted = convert(HEAD, "file")
    assert converted.text == HEAD
    ((_, message),) = undecided(converted)
    assert message == "the task own-task has no keys: give it an action, such as std.noop"


def test_empty_keys_of_workflows_and_actions_are_removed() -> None:
    old = """\
name: p.a
version: '2.0'
description:
actions:
  mine: {base: std.noop, input: , output: }
workflows:
  main:
    parameters: []
    output:
    vars: {}
    task-defaults:
      on-error:
    tasks:
      one: {action: mine}
"""
    new = """\
name: p.a
version: '2.0'
actions:
  mine: {base: std.noop, output: }
workflows:
  main:
    tasks:
      one: {action: mine}
"""
    assert convert(old, "file") == Converted(new, [])


def test_case_nullcond_is_valid_today() -> None:
    text = (ROOT / "tests" / "data" / "cases" / "nullcond.yaml").read_text()
    converted = convert(text, "nullcond.yaml")
    assert converted == Converted(
        text[: text.index("        policies:")]
        + """\
        on-success:
          - b
      b:
        action: std.noop
""",
        [],
    )


@pytest.mark.parametrize("key", ["stdout", "result.a"])
def test_keys_of_every_stackstorm_result_need_no_decision(key: str) -> None:
    converted = task(f"action: st2.action ref='p.a'\npublish: {{v: $.{key}}}")
    assert f"<% task('own-task').result.{key} %>" in converted.text
    assert not converted.undecided


@pytest.mark.parametrize("found", [[{"b": 1}, {"b": 2}], {"b": [1, 2]}], ids=["list", "mapping"])
def test_index_after_a_path_selects_the_same_item_in_todays_yaql(found: Any) -> None:
    converted = task("input: {a: '$.list.b[0]'}")
    expression = body(converted).partition("<%")[2].partition("%>")[0]
    engine = yaql.YaqlFactory().create()
    assert engine(expression).evaluate({"list": found}, yaql.create_context()) == 1


@pytest.mark.parametrize(
    "action",
    [
        "std.http url='u'",
        "nova.servers_list",
        "st2.callback state='ERROR'",
        "core.local cmd='date'",
        "a",
    ],
)
def test_result_keys_of_other_actions_need_no_decision(action: str) -> None:
    converted = task(f"action: {action}\npublish: {{v: $.a}}")
    assert "<% task('own-task').result.a %>" in converted.text
    assert not converted.undecided


@pytest.mark.parametrize(
    ("actions", "result"),
    [
        ("mine: {base: st2.action ref='p.a'}", "result.result.a"),
        ("mine: {base: st2.action, base-parameters: {ref: p.a}, parameters: [b]}", "result.result.a"),
        ("mine: {base: p.a}", "result.result.a"),
        ("mine: {base: p.a.other}\n  other: {base: p.a}", "result.result.a"),
        ("mine: {base: p.a, output: 1}", "result.a"),
        ("mine: {base: std.echo}", "result.a"),
        # A circle, which Mistral rejects.
        ("mine: {base: other}\n  other: {base: mine}", "result.a"),
    ],
)
@pytest.mark.parametrize("name", ["mine", "p.a.mine"])
def test_ad_hoc_action_has_the_result_of_its_stackstorm_action(
    actions: str, result: str, name: str
) -> None:
    text = HEAD.replace("workflows:", f"actions:\n  {actions}\nworkflows:")
    converted = convert(f"{text}        action: {name}\n        publish: {{v: $.a}}\n", "file")
    assert f"<% task('own-task').{result} %>" in converted.text
    assert bool(converted.undecided) == (result == "result.result.a")


@pytest.mark.parametrize(
    ("base", "old", "new", "doubt"),
    [
        ("st2.action", "{a: $.a}", "{a: <% $.result.a %>}", "write $.a if p.a is not one"),
        ("p.a", "$.a", "<% $.result.a %>", "write $.a if p.a is not one"),
        ("st2.action", "$", "<% $ %>", "is below 'result'"),
        ("st2.action", "{a: $.stdout}", "{a: <% $.stdout %>}", None),
        ("std.http", "{a: $.a}", "{a: <% $.a %>}", None),
    ],
)
def test_output_of_an_ad_hoc_action_reads_the_result_of_its_base(
    base: str, old: str, new: str, doubt: str | None
) -> None:
    action = f"base: {base}\n    base-input: {{ref: p.a}}\n    output: "
    text = HEAD.replace("workflows:", f"actions:\n  mine:\n    {action}{old}\nworkflows:")
    converted = convert(f"{text}        action: mine\n        publish: {{v: $.a}}\n", "file")
    assert f"    output: {new}\n" in converted.text
    assert "<% task('own-task').result.a %>" in converted.text
    assert [one.line for one in converted.undecided] == ([7] if doubt else [])
    assert all(doubt and doubt in one.message for one in converted.undecided)


def test_task_defaults_read_the_result_of_each_task() -> None:
    defaults = "    task-defaults:\n      policies:\n        retry: {count: 1, break-on: $.a = 1}\n"
    text = HEAD.replace("    tasks:\n", f"{defaults}    tasks:\n") + "        action: std.noop\n"
    converted = convert(text, "file")
    assert (
        "    task-defaults:\n      retry: {count: 1, break-on: <% task().result.a = 1 %>}\n"
        in converted.text
    )
    assert [(one.line, one.message[:17]) for one in converted.undecided] == [(8, "a was read from t")]


def test_convert_quotes_a_numeric_version_and_keeps_crlf() -> None:
    text = HEAD.replace("'2.0'", "2.0") + "        policies: {timeout: 1, wait-after: $.x}\n"
    converted = convert(text.replace("\n", "\r\n"), "file")
    expected = HEAD + "        timeout: 1\n        wait-after: <% $.x %>\n"
    assert converted == Converted(expected.replace("\n", "\r\n"), [])


@pytest.mark.parametrize("signs", ["(", "not ", "- ", "$[", "f("])
def test_deeply_nested_expression_is_not_changed(signs: str) -> None:
    expression = f"$.x = {signs * 3000}"
    converted = task(f"action: std.noop\ninput: {{a: '{expression}'}}")
    assert "not changed: $.x = " in undecided(converted)[0][1]
    assert expression in converted.text


@pytest.mark.parametrize("tag", ["!!set", "!!omap", "!!pairs"])
def test_workflows_that_are_not_a_mapping_are_not_changed(tag: str) -> None:
    value = "{main}" if tag == "!!set" else "[main: {tasks: {}}]"
    text = f"version: '2.0'\nname: p.a\nworkflows: {tag} {value}\n"
    assert convert(text, "file") == Converted(text, [])


def test_convert_accepts_a_single_workflow() -> None:
    text = "version: '2.0'\nw:\n  input: [a]\n  output: {b: $.a}\n  tasks: {t: {action: std.noop}}\n"
    assert convert(text, "file") == Converted(text.replace("$.a", "<% $.a %>"), [])


@pytest.mark.parametrize(
    ("block", "becomes"),
    [
        (
            "|\n    one {$.x}\n\n    two {$.x}{$.y}\n",
            "|\n    one <% $.x %>\n\n    two <% $.x %><% $.y %>\n",
        ),
        (">\n    one {$.x}\n    two {$.y}\n", ">\n    one <% $.x %>\n    two <% $.y %>\n"),
        # With its line end it would be text today.
        ("|\n    $.x\n", "<% $.x %>\n"),
    ],
)
def test_block_scalars_keep_their_lines(block: str, becomes: str) -> None:
    converted = task(f"input:\n  a: {block}  # why\n  b: 1")
    assert body(converted) == f"input:\n  a: {becomes}  # why\n  b: 1"
    assert not converted.undecided


@pytest.mark.parametrize(
    "policies",
    ["? policies\n: {timeout: 5}", "policies: {\n  # why\n  timeout: 5 }"],
)
def test_text_is_written_again_if_its_layout_cannot_be_kept(policies: str) -> None:
    converted = task(policies)
    ((_, words),) = undecided(converted)
    assert "without its comments" in words
    data = load(converted.text, "file")
    assert data["workflows"]["main"]["tasks"]["own-task"] == {"timeout": 5}
    assert converted.text == dump(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Workflow:\n  tasks: {}\n", "DSL v1, as it has Workflow"),
        ("Namespaces: {}\nWorkflow: {}\n", "Namespaces, Workflow"),
        ("version: '2.0'\nservices: {}\n", "has services"),
        ("Version: '2.0'\nWorkflows: {}\n", "Version, Workflows"),
        ("version: '1.0'\nname: x\nworkflows: {}\n", "version must be"),
        ("a: [", "is not valid YAML"),
        ("- a", "must be a YAML mapping"),
    ],
)
def test_convert_rejects_text_that_is_not_dsl_v2(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        convert(text, "file")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_convert_does_not_change_todays_examples(file: Path) -> None:
    text = file.read_text()
    assert convert(text, file.name) == Converted(text, [])


@pytest.mark.parametrize("file", OF_2014, ids=lambda file: file.stem)
def test_convert_keeps_comments_and_leaves_no_syntax_of_2014(file: Path) -> None:
    old = file.read_text()
    new = convert(old, file.name).text
    comments = [line[line.index("# ") :] for line in old.splitlines() if "# " in line]
    assert all(comment in new for comment in comments)
    assert not any(word in new for word in ("policies", "{$.", ": $.", "in $.", "on-finish"))
    assert convert(new, file.name).text == new


names = st.sampled_from(["x", "y", "z", "other", "t0", "unknown", "stdout"])
paths = st.builds("$.{}{}".format, names, st.sampled_from(["", ".b", "[0]", "[$.a = 1]", ".length()"]))
texts = st.one_of(
    paths,
    st.builds("{} {} {}".format, paths, st.sampled_from(["=", ">", "and", "~"]), paths),
    st.builds(
        "{}{{{}}}{}".format,
        st.text("a ${}<%'\"#:\n", max_size=4),
        paths,
        st.text("a $}{%>\n", max_size=4),
    ),
    st.text("$.{}<%> x1[]()'\"\n#:&*", max_size=12),
    st.sampled_from(["<% $.x %>", "{{ _.x }}", "${x}", "plain"]),
)
values = st.recursive(
    st.one_of(texts, st.integers(0, 9), st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=2)),
    max_leaves=4,
)
policies = st.fixed_dictionaries(
    {},
    optional={
        "wait-before": texts,
        "timeout": st.integers(0, 9),
        "retry": st.fixed_dictionaries({"count": st.integers(1, 3)}, optional={"break-on": texts}),
    },
)
tasks = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["std.noop", "std.echo output='{$.x}'", "st2.action ref='p.a'"]),
        "input": values,
        "parameters": values,
        "policies": policies,
        "timeout": texts,
        "publish": st.dictionaries(names, values, max_size=2),
        "with-items": st.builds("i in {}".format, texts),
        "on-finish": st.lists(st.one_of(names, st.dictionaries(names, texts, max_size=1)), max_size=2),
        "on-success": st.one_of(names, st.dictionaries(names, texts, max_size=2)),
    },
)
workbooks = st.fixed_dictionaries(
    {
        "name": st.just("p.a"),
        "version": st.sampled_from(["2.0", 2.0]),
        "workflows": st.fixed_dictionaries(
            {
                "main": st.fixed_dictionaries(
                    {
                        "input": st.just(["x", "y"]),
                        "output": st.dictionaries(names, values, max_size=2),
                        "tasks": st.builds(
                            lambda all_: {f"t{n}": t for n, t in enumerate(all_)},
                            st.lists(tasks, max_size=3),
                        ),
                    }
                )
            }
        ),
    }
)
styles: Any = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([True, False, None]),
        "default_style": st.sampled_from([None, "'", '"', "|", ">"]),
        "width": st.sampled_from([30, 1000]),
        "indent": st.sampled_from([2, 4]),
    }
)


@settings(deadline=None)
@given(workbooks, styles)
def test_convert_is_idempotent_and_independent_of_layout(
    workbook: dict[str, Any], style: dict[str, Any]
) -> None:
    text = yaml.safe_dump(workbook, sort_keys=False, **style)
    if load(text, "file") != workbook:
        return  # Mistral reads anchors as text
    once = convert(text, "file")
    assert convert(once.text, "file").text == once.text
    assert load(once.text, "file") == load(convert(dump(workbook), "file").text, "file")
