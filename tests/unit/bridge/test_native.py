"""Native actions: their definition, and the inputs of the st2.action that runs them."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import yaml

from st2actions_mistral.bridge import native
from st2actions_mistral.bridge.definitions import base_of
from st2actions_mistral.client.mistral import MistralClient

CONTEXT = {"parent": {"execution_id": "6b03c160746e6986596007f7"}}


def environment(**defaults: Any) -> dict[str, Any]:
    return {"__actions": {"st2.action": defaults}}


class Mistral:
    """Workflow executions by id, and actions by name."""

    def __init__(self) -> None:
        self.executions: dict[str, dict[str, Any]] = {}
        self.actions: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    def execution_summary(self, id_: str) -> dict[str, Any] | None:
        self.asked.append(id_)
        return self.executions.get(id_)

    def action_definition(self, name: str) -> str | None:
        return self.actions.get(name, {}).get("definition")


@pytest.fixture
def mistral() -> Mistral:
    return Mistral()


def environment_of(mistral: Mistral, id_: str | None) -> Any:
    return native.environment_of(cast("MistralClient", mistral), id_)


@pytest.mark.parametrize("ref", ["core.local", "1.5", "examples.mistral-basic", "größe.ß", "true.no"])
def test_definition_is_recognized(mistral: Mistral, ref: str) -> None:
    text = native.definition(ref)
    assert yaml.safe_load(text)[ref]["base-input"]["ref"] == ref
    assert native.is_native({"id": ref, "name": ref, "definition": text})
    mistral.actions[ref] = {"definition": text}
    assert base_of(cast("MistralClient", mistral), ref) == "st2.action"


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"id": "std.echo", "name": "std.echo", "definition": ""},
        {"id": "std.echo", "name": "std.echo", "definition": None},
        {"id": "std.echo", "name": "std.echo"},
        {"id": "a", "name": "a", "definition": "a: {base: std.echo}"},
        {"id": "a", "name": "a", "definition": "{"},
        # An ad-hoc action of a user.
        {"id": "7d1e…", "name": "core.local", "definition": native.definition("core.local")},
    ],
)
def test_other_actions_are_not_native(record: dict[str, Any] | None) -> None:
    assert not native.is_native(record)


def test_inputs_without_a_workflow() -> None:
    assert native.inputs_of("core.local", {"cmd": "date"}, None) == {
        "ref": "core.local",
        "parameters": {"cmd": "date"},
        "st2_context": None,
        "render_jinja": None,
    }


def test_inputs_have_the_defaults_of_st2_action() -> None:
    env = environment(st2_context=CONTEXT, render_jinja=True, ref="core.noop", parameters={"x": 1})
    assert native.inputs_of("core.local", {"cmd": "date"}, env) == {
        "ref": "core.local",
        "parameters": {"cmd": "date"},
        "st2_context": CONTEXT,
        "render_jinja": True,
    }


def test_context_of_the_task_is_added_to_that_of_the_environment() -> None:
    env = environment(st2_context={**CONTEXT, "task_name": "x"})
    given = {"cmd": "date", "st2_context": {"task_name": "say"}}
    made = native.inputs_of("core.local", given, env)
    assert made["parameters"] == {"cmd": "date"}
    assert made["st2_context"] == {**CONTEXT, "task_name": "say"}
    # Both are stored in Mistral and must not change.
    assert given["st2_context"] == {"task_name": "say"}
    assert env["__actions"]["st2.action"]["st2_context"] == {**CONTEXT, "task_name": "x"}
    assert native.inputs_of("core.local", given, {})["st2_context"] == {"task_name": "say"}


def test_only_given_parameters_are_rendered() -> None:
    env = environment(render_jinja=["cmd", "password"])
    assert native.inputs_of("core.local", {"cmd": "x"}, env)["render_jinja"] == ["cmd"]
    assert native.inputs_of("core.local", {}, env)["render_jinja"] == []
    # Whatever is no name is rejected by the action itself.
    env = environment(render_jinja=[7, {}])
    assert native.inputs_of("core.local", {}, env)["render_jinja"] == [7, {}]


@pytest.mark.parametrize(
    "env",
    [7, "text", [], {"__actions": []}, {"__actions": {"st2.action": "x"}}, {"__actions": {"a.b": {}}}],
)
def test_environment_of_another_shape_has_no_defaults(env: Any) -> None:
    made = native.inputs_of("core.local", {}, env)
    assert (made["st2_context"], made["render_jinja"]) == (None, None)


@pytest.mark.parametrize(
    ("of_env", "own", "used"),
    [
        ("text", None, "text"),
        (CONTEXT, "text", "text"),
        ("text", {"task_name": "say"}, {"task_name": "say"}),
        (CONTEXT, None, CONTEXT),
    ],
)
def test_invalid_context_is_left_to_the_action(of_env: Any, own: Any, used: Any) -> None:
    made = native.inputs_of("core.local", {"st2_context": own}, environment(st2_context=of_env))
    assert made["st2_context"] == used


def test_environment_of_the_outermost_workflow(mistral: Mistral) -> None:
    own = json.dumps({"env": {"own": 1}})
    mistral.executions = {
        "root": {"params": json.dumps({"env": {"a": 1}}), "root_execution_id": None},
        "sub": {"params": own, "root_execution_id": "root"},
        "alone": {"params": {"env": {"b": 2}}},
        "odd": {"params": "{"},
        "none": {},
        "lost": {"params": own, "root_execution_id": "gone"},
    }
    assert environment_of(mistral, "root") == {"a": 1}
    assert environment_of(mistral, "sub") == {"a": 1}
    assert environment_of(mistral, "alone") == {"b": 2}
    for id_ in ("odd", "none", "lost", "gone", None):
        assert environment_of(mistral, id_) is None


def test_action_without_a_workflow_needs_no_request(mistral: Mistral) -> None:
    assert environment_of(mistral, None) is None
    assert mistral.asked == []
