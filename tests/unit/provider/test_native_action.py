"""A native action as Mistral sees it, and the st2.action that it becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mistral_lib import serialization
from mistral_lib.exceptions import ActionException

from st2actions_mistral.actions.action import St2Action
from st2actions_mistral.model.signature import Signature
from st2actions_mistral.provider.native_action import NativeAction

LOCAL = Signature("core.local", "Run a command.", 'cmd, kwarg_op="--", timeout=60')
CONTEXT = {"parent": {"execution_id": "6b03c160746e6986596007f7"}, "signature": "ab"}
WORKFLOW = {
    "__env": {"__actions": {"st2.action": {"st2_context": CONTEXT}}},
    "cmd": "not this one",
}


@pytest.fixture
def local() -> NativeAction:
    return NativeAction(LOCAL)


def test_what_mistral_shows(local: NativeAction) -> None:
    assert (local.name, local.description, local.namespace) == ("core.local", "Run a command.", "")
    assert local.params_spec == 'cmd, kwarg_op="--", timeout=60'
    assert (local.project_id, local.scope, local.action_class_attributes) == (None, None, None)
    assert local.action_class_name == "st2actions_mistral.actions.action.St2Action"
    assert "base: st2.action" in local.definition
    assert repr(local) == ('StackStorm action [name=core.local, input=cmd, kwarg_op="--", timeout=60]')


@pytest.mark.parametrize(
    "given",
    [
        {"cmd": "date"},
        {"cmd": None, "timeout": 5},
        {"cmd": "date", "st2_context": {"task_name": "say"}},
    ],
)
def test_valid_input(local: NativeAction, given: dict[str, Any]) -> None:
    local.check_parameters(given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "missing=['cmd']"),
        (None, "missing=['cmd']"),
        ({"cmd": "x", "cdw": "/"}, "unexpected=['cdw']"),
        ({"render_jinja": True, "st2_context": {}}, "missing=['cmd'], unexpected=['render_jinja']"),
    ],
)
def test_invalid_input_is_mistrals_own_error(
    local: NativeAction, given: dict[str, Any] | None, problem: str
) -> None:
    with pytest.raises(ActionException) as failed:
        local.check_parameters(given)
    expected = f"Invalid input [name=core.local, class={local.action_class_name}, {problem}]"
    assert str(failed.value) == expected


def test_unknown_parameters_are_not_checked() -> None:
    NativeAction(Signature("core.local", "", "**parameters")).check_parameters({"anything": 1})


def test_action_of_a_task(local: NativeAction) -> None:
    given = {"cmd": "date", "st2_context": {"task_name": "say"}}
    action = local.instantiate(given, WORKFLOW)
    assert isinstance(action, St2Action)
    assert (action.ref, action.parameters) == ("core.local", {"cmd": "date"})
    assert action.st2_context == {**CONTEXT, "task_name": "say"}
    assert action.render_jinja is None
    assert not action.is_sync()


def test_action_without_a_workflow(local: NativeAction) -> None:
    action = local.instantiate({"cmd": "date"}, {})
    assert (action.parameters, action.st2_context) == ({"cmd": "date"}, None)


@pytest.mark.parametrize("context", [{"__env": 7}, {"__env": {"__actions": 1}}])
def test_context_of_another_shape_is_no_error(local: NativeAction, context: dict[str, Any]) -> None:
    assert local.instantiate(None, context).parameters == {}


def test_remote_executor_gets_the_action_as_json(local: NativeAction) -> None:
    serializer = serialization.get_polymorphic_serializer()
    sent = serializer.serialize(local.instantiate({"cmd": "date"}, WORKFLOW))
    action = serializer.deserialize(json.loads(json.dumps(sent)))
    assert isinstance(action, St2Action)
    assert vars(action)["parameters"] == {"cmd": "date"}
    assert vars(action)["st2_context"] == CONTEXT
