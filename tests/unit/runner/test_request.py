from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.runner.request import Rerun, WorkflowRequest, parse_request

GIVEN: dict[str, Any] = {"execution_id": "e", "ref": "pack.name", "entry_point": Path("w.yaml")}


def parse(
    runner_parameters: dict[str, Any] | None = None,
    action_parameters: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    **more: Any,
) -> WorkflowRequest:
    return parse_request(
        runner_parameters or {}, action_parameters or {}, context or {}, **GIVEN, **more
    )


def test_inputs_are_the_parameters_and_the_keys_of_context() -> None:
    found = parse(
        {"workflow": "main", "task_name": "", "context": {"b": 2}, "skip_notify": ["t", "t"]},
        {"a": 1, "c": None},
        {"user": "stanley"},
        notify={"on-complete": {}},
    )
    assert found == WorkflowRequest(
        **GIVEN,
        inputs={"a": 1, "b": 2, "c": None},
        workflow="main",
        user="stanley",
        notify={"on-complete": {}},
        skip_notify=["t"],
    )


def test_chat_of_the_context_is_kept_where_it_is_text() -> None:
    found = parse(context={"source_channel": "ops", "api_user": "ada", "action_alias_ref": {}})
    assert found.chatops == {"source_channel": "ops", "api_user": "ada"}
    assert parse(context={"source_channel": ["ops"], "api_user": ""}).chatops == {}


@pytest.mark.parametrize(
    ("runner_parameters", "context"),
    [
        ({"rerun_tasks": ["a", "b"], "rerun_reset": ["b"]}, {"re-run": {"ref": "x"}}),
        # StackStorm passes them on like this for its own runners only, so far.
        ({}, {"re-run": {"ref": "x", "tasks": ["a", "b"], "reset": ["b"]}}),
    ],
)
def test_rerun_names_tasks_to_rerun_and_to_reset(
    runner_parameters: dict[str, Any], context: dict[str, Any]
) -> None:
    found = parse(runner_parameters, context=context, rerun_of="w")
    assert found.rerun == Rerun("w", "x", ["a", "b"], ["b"])


def test_rerun_without_tasks_starts_a_new_workflow() -> None:
    # StackStorm passes on the parameters of the execution that is re-run.
    again = parse(
        {"rerun_tasks": [], "rerun_reset": ["b"]}, context={"re-run": {"ref": "x"}}, rerun_of="w"
    )
    assert again.rerun is None
    assert parse(context={"re-run": {"ref": "x"}}, rerun_of="w").rerun is None


@pytest.mark.parametrize("value", [1, None])
def test_context_must_not_override_parameters_of_the_action(value: Any) -> None:
    with pytest.raises(InputError, match="context: contains a, c, a parameter of the action"):
        parse({"context": {"a": 2, "b": 2, "c": value}}, {"a": 1, "c": None})


@pytest.mark.parametrize(
    ("runner_parameters", "words"),
    [
        ({"context": ["a"]}, "context: must be an object"),
        ({"skip_notify": "a"}, "skip_notify: must be a list"),
        ({"skip_notify": [1]}, "skip_notify: must be a list"),
        ({"rerun_tasks": ["a"]}, "rerun_tasks: .*no workflow to re-run them in"),
        (
            {"rerun_tasks": ["a"], "rerun_reset": ["a", "b"]},
            "rerun_reset: names tasks that are not in rerun_tasks: b",
        ),
    ],
)
def test_an_invalid_parameter_is_named(runner_parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse(runner_parameters)
