"""The relation of a workflow execution to its parent execution."""

from __future__ import annotations

import json
from typing import Any

import pytest

from st2actions_mistral.model.links import WorkflowRef, reports_to, started_for, workflow_execution_id

PARENT = "6b03c160746e6986596007f7"


def workflow(**given: Any) -> dict[str, Any]:
    return {
        "id": workflow_execution_id(PARENT),
        "description": f"StackStorm execution {PARENT}",
        **given,
    }


def env(parent: Any) -> dict[str, Any]:
    return {"env": {"__actions": {"st2.callback": {"st2_context": {"parent": parent}}}}}


def test_workflow_execution_id_never_changes() -> None:
    """Otherwise a start that is repeated after an upgrade would start a second workflow."""
    assert workflow_execution_id(PARENT) == "7aef22bd-ff01-5377-8d74-862ea354f852"


def test_ref_survives_the_context() -> None:
    ref = WorkflowRef("here", "w-1", "examples.mistral-basic.main")
    assert WorkflowRef.of({"user": "x", **ref.as_context({})}) == ref


def test_ref_has_the_project_of_the_workflow() -> None:
    ref = WorkflowRef("here", "w-1", "n", "p")
    # The runner starts workflows in its own project, also for an action of another one.
    child = {"mistral": {"action_execution_id": "a-1", "project_id": "of the action"}}
    made = ref.as_context(child)
    assert made["mistral"]["project_id"] == "of the action"
    read = WorkflowRef.of(made)
    assert read is not None
    assert read.project_id == "p"
    made["mistral_workflow"]["project_id"] = ["p"]
    assert (read := WorkflowRef.of(made)) is not None
    assert read.project_id is None


def test_context_names_the_workflow_as_in_stackstorm_3_2() -> None:
    ref = WorkflowRef("here", "w-1", "pack.name.main")
    assert ref.as_context({"user": "x", "mistral": "anything"})["mistral"] == {
        "execution_id": "w-1",
        "workflow_name": "pack.name.main",
    }


def test_context_of_a_child_keeps_what_names_its_action() -> None:
    of_action = {"site": "here", "workflow_execution_id": "w-0", "action_execution_id": "a-1"}
    child = {"mistral": {**of_action, "workflow_name": "pack.outer", "task_name": "call"}}
    expected = {
        **of_action,
        "task_name": "call",
        "execution_id": "w-1",
        "workflow_name": "pack.name",
        "parent": {"workflow_execution_id": "w-0", "workflow_name": "pack.outer"},
    }
    made = WorkflowRef("here", "w-1", "pack.name").as_context(child)
    assert made["mistral"] == expected
    # As StackStorm's policy action.retry copies it.
    again = WorkflowRef("here", "w-2", "pack.name").as_context(made)
    assert again["mistral"] == {**expected, "execution_id": "w-2"}


@pytest.mark.parametrize(
    "context",
    [
        None,
        [],
        {},
        {"mistral_workflow": None},
        {"mistral_workflow": {"site": "here", "execution_id": 5, "workflow_name": "x"}},
        {"mistral_workflow": {"site": "here", "execution_id": "", "workflow_name": "x"}},
        {"mistral": {"site": "here", "execution_id": "w", "workflow_name": "x"}},
    ],
)
def test_ref_of_a_malformed_context_is_none(context: Any) -> None:
    assert WorkflowRef.of(context) is None


def test_started_for_reads_id_and_description() -> None:
    assert started_for(workflow()) == PARENT


@pytest.mark.parametrize(
    "other",
    [
        {"id": "00000000-0000-0000-0000-000000000000"},
        {"description": "StackStorm execution 6b03c160746e6986596007f8"},
        {"description": "sub-workflow execution"},
        {"description": None},
        {"description": f"StackStorm execution {PARENT}\n"},
    ],
)
def test_started_for_checks_the_id(other: dict[str, Any]) -> None:
    assert started_for(workflow(**other)) is None


NO_IDS = ["", "last", PARENT.upper(), f"{PARENT},{PARENT}", f"{PARENT}\n", "x" * 70_000]


@pytest.mark.parametrize("text", NO_IDS)
def test_invalid_ids_are_ignored(text: str) -> None:
    """The id of a workflow execution can be derived from any string."""
    made = {"id": workflow_execution_id(text), "description": f"StackStorm execution {text}"}
    assert started_for(made) is None
    assert reports_to(made) is None
    assert reports_to(workflow(params=env({"execution_id": text}))) == PARENT


def test_reports_to_the_execution_in_the_environment() -> None:
    params = env({"execution_id": "6b03c160746e6986596007ff"})
    assert reports_to(workflow(params=json.dumps(params))) == "6b03c160746e6986596007ff"
    assert reports_to(workflow(params=params)) == "6b03c160746e6986596007ff"


@pytest.mark.parametrize("params", [None, "", "no JSON", "[]", {}, {"env": "name"}, env(None), env([])])
def test_reports_to_the_execution_it_was_started_for(params: Any) -> None:
    assert reports_to(workflow(params=params)) == PARENT
