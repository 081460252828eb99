"""What the relay decides, as a function of what it sees."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from st2actions_mistral.relay.reconcile import Complete, Leave, action_of, oldest, settle

ACTION = {"id": "a-1", "name": "st2.action", "state": "RUNNING"}


def child(status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {
        "id": "6b0400000000000000000001",
        "status": status,
        "web_url": "https://st2/#/history/1",
        "context": {"mistral": {"site": "here", "action_execution_id": "a-1"}},
        "result": {"stdout": "x"},
        **more,
    }


def decide(action: Any = ACTION, found: Any = None, base: str = "st2.action") -> Complete | Leave:
    return settle(action, found, base=base, site="here", limit_kb=1024)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("succeeded", "SUCCESS"),
        ("failed", "ERROR"),
        ("timeout", "ERROR"),
        ("abandoned", "ERROR"),
        ("canceled", "CANCELLED"),
    ],
)
def test_a_final_child_completes_its_action(status: str, state: str) -> None:
    effect = decide(found=child(status))
    assert effect == Complete(
        "a-1",
        state,
        {
            "stdout": "x",
            "st2": {
                "execution_id": "6b0400000000000000000001",
                "status": status,
                "web_url": "https://st2/#/history/1",
            },
        },
    )


@pytest.mark.parametrize(
    "status",
    [
        "requested",
        "scheduled",
        "delayed",
        "running",
        "pending",
        "pausing",
        "paused",
        "resuming",
        "canceling",
        "a word of the future",
    ],
)
def test_a_child_that_is_not_final_leaves_the_action_running(status: str) -> None:
    # A result may be there already: StackStorm keeps one that was POSTed.
    assert isinstance(decide(found=child(status)), Leave)


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "CANCELLED", "PAUSED", "IDLE"])
def test_only_a_running_action_is_completed(state: str) -> None:
    assert isinstance(decide({**ACTION, "state": state}, child()), Leave)


def test_an_action_of_another_kind_is_not_completed_by_whoever_names_its_id() -> None:
    effect = decide({**ACTION, "name": "std.async_noop"}, child(), base="std.async_noop")
    assert isinstance(effect, Leave)


def test_an_ad_hoc_action_counts_by_its_base() -> None:
    assert isinstance(decide({**ACTION, "name": "book.shell"}, child()), Complete)


def test_a_child_of_another_action_or_site_is_left_alone() -> None:
    elsewhere = {"mistral": {"site": "there", "action_execution_id": "a-1"}}
    other = {"mistral": {"site": "here", "action_execution_id": "a-2"}}
    assert isinstance(decide(found=child(context=elsewhere)), Leave)
    assert isinstance(decide(found=child(context=other)), Leave)


def test_what_is_not_there_is_left_alone() -> None:
    assert isinstance(decide(found=None), Leave)
    assert isinstance(decide(None, child()), Leave)


@pytest.mark.parametrize(
    "context",
    [
        None,
        "text",
        [],
        {"mistral": "text"},
        {"mistral": {"site": "here"}},
        {"mistral": {"site": "here", "action_execution_id": 7}},
        {"mistral": {"site": ["here"]}},
    ],
)
def test_a_context_of_any_shape_is_read(context: Any) -> None:
    assert action_of({"context": context}, "here") is None
    assert action_of({}, "here") is None


def test_the_oldest_is_in_mistrals_time() -> None:
    rows = [{"created_at": "2026-11-23 04:16:08"}, {"created_at": "2026-11-23 04:16:07"}]
    assert oldest(rows) == datetime(2026, 11, 23, 4, 16, 7, tzinfo=timezone.utc)
