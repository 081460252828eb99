from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.runner import request
from st2actions_mistral.runner.request import Request, Rerun

GIVEN: dict[str, Any] = {"execution_id": "e", "ref": "pack.name", "entry_point": Path("w.yaml")}


def read(
    runner_parameters: dict[str, Any] | None = None,
    action_parameters: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    **more: Any,
) -> Request:
    return request.read(
        runner_parameters or {}, action_parameters or {}, context or {}, **GIVEN, **more
    )


def test_parameters_are_inputs_and_context_adds_to_them() -> None:
    found = read(
        {"workflow": "main", "task_name": "", "context": {"b": 2}, "skip_notify": ["t", "t"]},
        {"a": 1, "c": None},
        {"user": "stanley"},
        notify={"on-complete": {}},
    )
    assert found == Request(
        **GIVEN,
        inputs={"a": 1, "b": 2, "c": None},
        workflow="main",
        user="stanley",
        notify={"on-complete": {}},
        skip_notify=["t"],
    )


@pytest.mark.parametrize(
    ("runner_parameters", "context"),
    [
        ({"tasks": ["a", "b"], "reset": ["b"]}, {"re-run": {"ref": "x"}}),
        # As StackStorm would pass them on, if it did so for a runner that is not its own.
        ({}, {"re-run": {"ref": "x", "tasks": ["a", "b"], "reset": ["b"]}}),
    ],
)
def test_tasks_are_run_again(runner_parameters: dict[str, Any], context: dict[str, Any]) -> None:
    found = read(runner_parameters, context=context, rerun_of="w")
    assert found.rerun == Rerun("w", "x", ["a", "b"], ["b"])


def test_a_rerun_without_tasks_is_a_new_start() -> None:
    # StackStorm hands on the parameters of the run before.
    again = read({"tasks": [], "reset": ["b"]}, context={"re-run": {"ref": "x"}}, rerun_of="w")
    assert again.rerun is None
    assert read(context={"re-run": {"ref": "x"}}, rerun_of="w").rerun is None


@pytest.mark.parametrize("value", [1, None])
def test_context_is_no_way_past_what_an_action_says_of_its_parameters(value: Any) -> None:
    with pytest.raises(InputError, match="context: gives a, c, which the action has as a parameter"):
        read({"context": {"a": 2, "b": 2, "c": value}}, {"a": 1, "c": None})


@pytest.mark.parametrize(
    ("runner_parameters", "words"),
    [
        ({"context": ["a"]}, "context: must be an object"),
        ({"skip_notify": "a"}, "skip_notify: must be a list"),
        ({"skip_notify": [1]}, "skip_notify: must be a list"),
        ({"tasks": ["a"]}, "tasks: .*no workflow to run them in"),
        ({"tasks": ["a"], "reset": ["a", "b"]}, "reset: names tasks that are not among tasks: b"),
    ],
)
def test_what_cannot_be_used(runner_parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(runner_parameters)
