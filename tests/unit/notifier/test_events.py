"""Test what is read of Mistral's events, and what a trigger gets."""

from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.notifier.events import Event

W, ROOT, T = "11111111-a", "22222222-b", "33333333-c"


def workflow(**given: Any) -> dict[str, Any]:
    """Return what Mistral tells about a workflow."""
    return {
        "id": W,
        "name": "n.main",
        "workflow_name": "n.main",
        "workflow_namespace": "",
        "workflow_id": "d",
        "state": "ERROR",
        "state_info": None,
        "project_id": "<default-project>",
        "task_execution_id": None,
        "root_execution_id": None,
        "created_at": "2026-11-23 04:16:07",
        "updated_at": "2026-11-23 04:16:09",
        **given,
    }


def task(**given: Any) -> dict[str, Any]:
    """Return what Mistral tells about a task."""
    return {
        "id": T,
        "name": "say",
        "workflow_execution_id": W,
        "workflow_name": "n.main",
        "workflow_namespace": "",
        "workflow_id": "d",
        "state": "SUCCESS",
        "state_info": None,
        "type": "ACTION",
        "project_id": "p",
        "created_at": "2026-11-23 04:16:07",
        "updated_at": None,
        "started_at": "2026-11-23 04:16:07",
        "finished_at": "2026-11-23 04:16:08",
        **given,
    }


def event(name: object, data: dict[str, Any]) -> Event:
    found = Event.of(name, data)
    assert found is not None
    return found


def payload(found: Event, root: str | None = None, parent: str | None = None) -> dict[str, Any]:
    return found.payload("here", root_execution_id=root, parent_execution_id=parent)


def test_payload_of_a_workflow() -> None:
    assert payload(event("WORKFLOW_FAILED", workflow(state_info="no")), W, "a" * 24) == {
        "event": "WORKFLOW_FAILED",
        "kind": "workflow",
        "site": "here",
        "name": "n.main",
        "state": "ERROR",
        "state_info": "no",
        "workflow_name": "n.main",
        "workflow_execution_id": W,
        "task_execution_id": None,
        "root_execution_id": W,
        "parent_execution_id": "a" * 24,
        "project_id": None,
        "created_at": "2026-11-23T04:16:07Z",
        "updated_at": "2026-11-23T04:16:09Z",
    }


def test_payload_of_a_task() -> None:
    found = payload(event("TASK_SUCCEEDED", task()), ROOT)
    assert (found["kind"], found["name"], found["task_execution_id"]) == ("task", "say", T)
    assert (found["workflow_execution_id"], found["root_execution_id"]) == (W, ROOT)
    assert (found["project_id"], found["updated_at"]) == ("p", None)


def test_payload_of_a_sub_workflow_names_the_task_that_called_it() -> None:
    data = workflow(task_execution_id=T, root_execution_id=ROOT)
    found = payload(event("WORKFLOW_SUCCEEDED", data), ROOT)
    assert (found["kind"], found["task_execution_id"]) == ("workflow", T)


def test_payload_has_nothing_else_that_mistral_tells() -> None:
    secret = {"input": "hush", "output": "hush", "params": "hush", "published": "hush"}
    assert "hush" not in str(payload(event("WORKFLOW_FAILED", workflow(**secret))))
    assert "hush" not in repr(event("WORKFLOW_FAILED", workflow(**secret)))


def test_reason_is_short_and_without_tracebacks() -> None:
    traceback = (
        'Failed.\nTraceback (most recent call last):\n  File "/x/mistral/engine/actions.py", line 1\n'
    )
    found = payload(event("WORKFLOW_FAILED", workflow(state_info=traceback)))
    assert found["state_info"] == "Failed."
    found = payload(event("WORKFLOW_FAILED", workflow(state_info="x" * 100_000)))
    assert found["state_info"] == "x" * 500 + "… (truncated)"
    found = payload(event("TASK_FAILED", task(state_info={"a": ["b"]})))
    assert found["state_info"] == '{"a": ["b"]}'


def test_payload_can_be_sent_as_json() -> None:
    found = payload(event("TASK_FAILED", task(name="\ud83d", state_info="\udc00")))
    assert str(found).encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (None, workflow()),
        (5, workflow()),
        ("WORKFLOW_FAILED", {}),
        ("WORKFLOW_FAILED", {"id": 5}),
        ("TASK_FAILED", {"id": T, "workflow_execution_id": None}),
    ],
)
def test_what_is_no_event_is_none(name: object, data: dict[str, Any]) -> None:
    """Mistral publishes a task that becomes DELAYED or WAITING with the event None."""
    assert Event.of(name, data) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WORKFLOW_LAUNCHED", False),
        ("WORKFLOW_SUCCEEDED", True),
        ("WORKFLOW_FAILED", True),
        ("WORKFLOW_CANCELLED", True),
        ("WORKFLOW_PAUSED", True),
        ("WORKFLOW_RESUMED", True),
        ("WORKFLOW_RERUN", False),
    ],
)
def test_events_that_concern_parents(name: str, expected: bool) -> None:
    assert event(name, workflow()).concerns_parent is expected
    assert not event(name, workflow(root_execution_id=ROOT)).concerns_parent


def test_no_event_of_a_task_concerns_parents() -> None:
    for name in ("TASK_SUCCEEDED", "WORKFLOW_SUCCEEDED"):
        assert not event(name, task()).concerns_parent
