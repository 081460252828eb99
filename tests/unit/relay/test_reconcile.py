"""What the relay decides, as a function of what it sees."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from st2actions_mistral.relay.reconcile import (
    Adopt,
    Cancel,
    Complete,
    Effect,
    Leave,
    Place,
    Rules,
    Seen,
    action_of,
    has_items,
    oldest,
    refused,
    settle,
)

ACTION = {
    "id": "a-1",
    "name": "st2.action",
    "state": "RUNNING",
    "created_at": "2026-11-23 04:16:07",
}
RULES = Rules("here", 1024, reschedule_after=120, lost_after=600, cancel_orphans=True)
UNFINISHED = [
    "requested",
    "scheduled",
    "delayed",
    "running",
    "pending",
    "pausing",
    "paused",
    "resuming",
]


def child(status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {
        "id": "6b0400000000000000000001",
        "status": status,
        "web_url": "https://st2/#/history/1",
        "context": {"mistral": {"site": "here", "action_execution_id": "a-1"}},
        "result": {"stdout": "x"},
        **more,
    }


def decide(
    action: Any = ACTION,
    found: Any = None,
    base: str = "st2.action",
    *,
    rules: Rules = RULES,
    **more: Any,
) -> Effect:
    return settle(Seen(action, base=base, child=found, **more), rules)


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


@pytest.mark.parametrize("status", [*UNFINISHED, "canceling", "a word of the future"])
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
        {"mistral": {"site": "here", "action_execution_id": "a-1\nWARNING it is all over"}},
        {"mistral": {"site": "here", "action_execution_id": "a-1\n"}},
        {"mistral": {"site": "here", "action_execution_id": "a" * 37}},
    ],
)
def test_a_context_of_any_shape_is_read(context: Any) -> None:
    assert action_of({"context": context}, "here") is None
    assert action_of({}, "here") is None


def test_a_uuid_is_read() -> None:
    id_ = "4b4f5be9-77b1-4f0e-9a53-2a1a4f5e6d7c"
    assert (
        action_of(child(context={"mistral": {"site": "here", "action_execution_id": id_}}), "here")
        == id_
    )


def test_the_oldest_is_in_mistrals_time() -> None:
    rows = [{"created_at": "2026-11-23 04:16:08"}, {"created_at": "2026-11-23 04:16:07"}]
    assert oldest(rows) == datetime(2026, 11, 23, 4, 16, 7, tzinfo=timezone.utc)


# -- given up by Mistral -------------------------------------------------------------------------

CANCELLED = Place("CANCELLED", "RUNNING")
TIMED_OUT = Place("RUNNING", "ERROR")
DELAYED = Place("RUNNING", "DELAYED")
WAITING = Place("RUNNING", "WAITING")
RETRIED = Place("RUNNING", "RUNNING", newer_attempt=True)
GIVEN_UP = [CANCELLED, TIMED_OUT, DELAYED, WAITING, RETRIED]
WANTED = [
    Place("RUNNING", "RUNNING"),
    Place("PAUSED", "RUNNING"),
    # It may be run on.
    Place("ERROR", "RUNNING"),
    # Which attempt an item belongs to cannot be told.
    Place("RUNNING", "RUNNING", with_items=True, newer_attempt=True),
    None,
]


@pytest.mark.parametrize("place", GIVEN_UP)
@pytest.mark.parametrize("status", UNFINISHED)
def test_a_child_that_nobody_waits_for_is_cancelled(place: Place, status: str) -> None:
    effect = decide(found=child(status), place=place)
    assert isinstance(effect, Cancel)
    assert effect.execution_id == "6b0400000000000000000001"
    keeps = Rules("here", 1024, cancel_orphans=False)
    assert isinstance(decide(found=child(status), place=place, rules=keeps), Leave)


@pytest.mark.parametrize("place", WANTED)
@pytest.mark.parametrize("status", UNFINISHED)
def test_a_child_that_somebody_waits_for_is_not(place: Place | None, status: str) -> None:
    assert isinstance(decide(found=child(status), place=place), Leave)


@pytest.mark.parametrize("place", [CANCELLED, TIMED_OUT, *WANTED])
def test_a_result_goes_home_where_it_starts_nothing_wrong(place: Place | None) -> None:
    assert isinstance(decide(found=child("canceled"), place=place), Complete)


@pytest.mark.parametrize("place", [DELAYED, WAITING, RETRIED])
def test_a_late_result_is_not_taken_for_the_newer_attempts(place: Place) -> None:
    assert isinstance(decide(found=child("succeeded"), place=place), Leave)


@pytest.mark.parametrize("place", [CANCELLED, TIMED_OUT])
def test_what_was_never_run_and_is_given_up_is_closed(place: Place) -> None:
    effect = decide(place=place, age=10_000)
    assert isinstance(effect, Complete)
    assert effect.state == "CANCELLED"


@pytest.mark.parametrize("place", [DELAYED, WAITING, RETRIED])
def test_it_is_not_closed_while_a_newer_attempt_would_be(place: Place) -> None:
    assert isinstance(decide(place=place, age=10_000), Leave)


@pytest.mark.parametrize("status", UNFINISHED)
@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "CANCELLED"])
def test_a_child_of_an_action_that_is_closed_is_cancelled(state: str, status: str) -> None:
    assert isinstance(decide({**ACTION, "state": state}, child(status)), Cancel)


@pytest.mark.parametrize("state", ["PAUSED", "IDLE"])
def test_a_child_of_an_action_that_is_paused_is_not(state: str) -> None:
    assert isinstance(decide({**ACTION, "state": state}, child("running")), Leave)


def test_a_child_of_an_action_that_is_deleted_is_cancelled() -> None:
    assert isinstance(decide(None, child("running"), waited=True), Cancel)
    assert isinstance(decide(None, child("canceling"), waited=True), Leave)
    elsewhere = {"mistral": {"site": "there", "action_execution_id": "a-1"}}
    assert isinstance(decide(None, child("running", context=elsewhere), waited=True), Leave)


def test_a_child_of_an_action_that_never_waited_here_may_be_another_mistrals() -> None:
    assert isinstance(decide(None, child("running")), Leave)
    assert isinstance(decide({**ACTION, "state": "CANCELLED"}, child("running")), Cancel)


def test_where_an_action_stands() -> None:
    task = {"id": "t", "state": "RUNNING", "runtime_context": "{}"}
    older = {"created_at": "2026-11-23 04:16:06"}
    newer = {"created_at": "2026-11-23 04:16:08"}
    workflow = {"state": "RUNNING"}
    assert Place.of(ACTION, task, workflow, [older, ACTION]) == Place("RUNNING", "RUNNING")
    assert Place.of(ACTION, task, workflow, [ACTION, newer]).newer_attempt
    assert Place.of(ACTION, task, None, []).given_up == "its workflow is cancelled"
    items = {**task, "runtime_context": '{"with_items": {"count": 3}}'}
    assert Place.of(ACTION, items, workflow, []).with_items


@pytest.mark.parametrize("context", [None, "", "{", "[]", [], 5, {}])
def test_a_runtime_context_of_any_shape_is_read(context: Any) -> None:
    assert not has_items({"runtime_context": context})


# -- lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "kind"), [(0, Leave), (119.9, Leave), (120, Adopt), (10_000, Adopt)])
def test_what_has_no_child_is_scheduled_after_a_while(age: float, kind: type) -> None:
    assert isinstance(decide(age=age), kind)


@pytest.mark.parametrize(("age", "kind"), [(0, Leave), (599.9, Leave), (600, Complete)])
def test_what_has_no_child_and_is_not_to_be_scheduled_is_an_error(age: float, kind: type) -> None:
    rules = Rules("here", 1024, lost_after=600)
    effect = decide(age=age, rules=rules)
    assert isinstance(effect, kind)
    if isinstance(effect, Complete):
        assert effect.state == "ERROR"
        assert "lost before it reached StackStorm" in effect.output["error"]


def test_with_neither_it_waits_for_ever() -> None:
    assert isinstance(decide(age=1e9, rules=Rules("here", 1024)), Leave)
    assert isinstance(decide(age=1e9, vanished="x", rules=Rules("here", 1024)), Leave)


@pytest.mark.parametrize(("age", "kind"), [(0, Leave), (599.9, Leave), (600, Complete)])
def test_a_child_that_vanished_is_not_made_again(age: float, kind: type) -> None:
    effect = decide(age=age, vanished="6b04")
    assert isinstance(effect, kind)
    if isinstance(effect, Complete):
        assert effect.state == "ERROR"
        assert "6b04" in effect.output["error"]


def test_what_cannot_be_scheduled_is_an_error_once_it_is_lost() -> None:
    assert refused(Seen(ACTION, age=599), RULES, "no such action") == Leave("no such action")
    effect = refused(Seen(ACTION, age=600), RULES, "no such action")
    assert isinstance(effect, Complete)
    assert effect.state == "ERROR"
    assert "no such action" in effect.output["error"]
