from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.migrate.scope import Scope, called_action, in_output
from st2actions_mistral.migrate.translate import Start

WORKFLOW: dict[str, Any] = {
    "input": ["x"],
    "vars": {"v": 1},
    "tasks": {
        "local": {"action": "core.local cmd='date'", "publish": {"said": "$.stdout"}},
        "python": {"action": "p.a", "on-success": {"publish": {"global": {"shared": 1}}}},
        "each": {"action": "std.echo", "with-items": "i in $.x"},
    },
}
SCOPE = Scope.of(WORKFLOW, {})


def test_scope_collects_the_names_of_a_workflow() -> None:
    assert SCOPE.given == {"x", "v"}
    assert SCOPE.publishers == {"said": {"local"}, "shared": {"python"}}
    assert SCOPE.refs == {"local": "core.local", "python": "p.a", "each": None}
    assert SCOPE.loops == {"each"}
    assert SCOPE.only_tasks == {"local", "python", "each"}


@pytest.mark.parametrize(
    ("names", "text", "names_replaced", "is_certain"),
    [
        ([], "$", 1, True),
        (["x", "a"], "$.x", 1, True),
        (["said"], "$.said", 1, True),
        (["local", "stdout"], "task('local').result", 1, True),
        (["python", "a"], "task('python').result.result", 1, False),
        (["each", "a"], "task('each').result", 1, False),
        (["task", "local", "said"], "$.said", 3, True),
        (["__env", "a"], "env()", 1, True),
        (["unknown"], "$.unknown", 1, False),
    ],
)
def test_path_in_the_context(
    names: list[str], text: str, names_replaced: int, is_certain: bool
) -> None:
    start = SCOPE.in_context(names)
    assert (start.text, start.names, start.doubt is None) == (text, names_replaced, is_certain)


def test_variable_of_with_items_is_in_the_context() -> None:
    assert SCOPE.in_context(["i"], frozenset("i")) == Start("$.i")


@pytest.mark.parametrize(
    ("names", "text", "is_certain"),
    [
        ([], "task('local').result", True),
        (["stdout"], "task('local').result.stdout", True),
        (["x"], "$.x", False),
        (["python", "stdout"], "task('python').result", True),
    ],
)
def test_path_in_the_result_of_a_task(names: list[str], text: str, is_certain: bool) -> None:
    start = SCOPE.in_result("local", names, None)
    assert (start.text, start.doubt is None) == (text, is_certain)


def test_path_in_the_output_of_an_ad_hoc_action() -> None:
    assert in_output(None, ["a"]) == Start("$.a")
    assert in_output("p.a", ["stdout"]) == Start("$.stdout")
    assert in_output("p.a", ["a"]).text == "$.result.a"


@pytest.mark.parametrize(
    ("spec", "ref"),
    [
        ({"action": "p.a x='1'"}, "p.a"),
        ({"action": "st2.action ref='p.a'"}, "p.a"),
        ({"action": "st2.action", "parameters": {"ref": "p.a"}}, "p.a"),
        ({"action": "st2.action ref=$.ref"}, ""),
        ({"action": "mine"}, "p.a"),
        ({"action": "nova.servers_list"}, None),
        ({"action": "=x y=1"}, None),
        ({}, None),
    ],
)
def test_called_action(spec: dict[str, Any], ref: str | None) -> None:
    assert called_action(spec, {"mine": {"base": "p.a"}}) == ref
