"""Who runs for whom, as each side says it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from st2actions_mistral.model.workflow import (
    WorkflowRef,
    decoded,
    has_items,
    reports_to,
    started_for,
    workflow_execution_id,
)

PARENT = "6b03c160746e6986596007f7"


def workflow(**given: Any) -> dict[str, Any]:
    return {
        "id": workflow_execution_id(PARENT),
        "description": f"StackStorm execution {PARENT}",
        **given,
    }


def env(parent: Any) -> dict[str, Any]:
    return {"env": {"__actions": {"st2.callback": {"st2_context": {"parent": parent}}}}}


def test_the_id_is_the_same_in_every_version() -> None:
    """Else an upgrade would start a second workflow where a start is repeated."""
    assert workflow_execution_id(PARENT) == "7aef22bd-ff01-5377-8d74-862ea354f852"


def test_a_ref_goes_into_a_context_and_back() -> None:
    ref = WorkflowRef("here", "w-1", "examples.mistral-basic.main")
    assert WorkflowRef.of({"user": "x", **ref.as_context()}) == ref


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
def test_a_malformed_context_names_nothing(context: Any) -> None:
    assert WorkflowRef.of(context) is None


def test_a_workflow_says_what_it_was_started_for() -> None:
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
def test_a_description_alone_is_not_believed(other: dict[str, Any]) -> None:
    assert started_for(workflow(**other)) is None


NO_IDS = ["", "last", PARENT.upper(), f"{PARENT},{PARENT}", f"{PARENT}\n", "x" * 70_000]


@pytest.mark.parametrize("text", NO_IDS)
def test_only_what_may_be_an_id_of_stackstorm_is_taken_for_one(text: str) -> None:
    """The id of a workflow can be made of any text."""
    made = {"id": workflow_execution_id(text), "description": f"StackStorm execution {text}"}
    assert started_for(made) is None
    assert reports_to(made) is None
    assert reports_to(workflow(params=env({"execution_id": text}))) == PARENT


def test_a_re_run_reports_to_the_one_in_the_environment() -> None:
    params = env({"execution_id": "6b03c160746e6986596007ff"})
    assert reports_to(workflow(params=json.dumps(params))) == "6b03c160746e6986596007ff"
    assert reports_to(workflow(params=params)) == "6b03c160746e6986596007ff"


@pytest.mark.parametrize("params", [None, "", "no JSON", "[]", {}, {"env": "name"}, env(None), env([])])
def test_without_one_there_it_reports_to_whom_it_was_started_for(params: Any) -> None:
    assert reports_to(workflow(params=params)) == PARENT


def test_what_is_json_in_a_text_is_read() -> None:
    assert decoded('{"a": 1}') == {"a": 1}
    assert decoded({"a": 1}) == {"a": 1}
    assert decoded("{") is None


def test_a_task_with_items_is_told_apart() -> None:
    assert has_items({"runtime_context": '{"with_items": {"count": 2}}'})
    assert not has_items({"runtime_context": {}})
    assert not has_items({"runtime_context": "{"})
