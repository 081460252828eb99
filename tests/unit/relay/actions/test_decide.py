"""Every decision about one action, as a function of what was observed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.errors import Answered, InputError, NotSent, OutcomeUnknown, RemoteError
from st2actions_mistral.model.context import MistralIds, sign_ids
from st2actions_mistral.model.project import NoAccess
from st2actions_mistral.relay.actions.decide import (
    Cancel,
    Close,
    Complete,
    Effect,
    Inputs,
    Look,
    Resume,
    Rules,
    Schedule,
    Seen,
    Wait,
    decide,
    decide_duplicates,
)
from st2actions_mistral.relay.actions.place import Place

ACTION = {
    "id": "a-1",
    "name": "st2.action",
    "state": "RUNNING",
    "created_at": "2026-11-23 04:16:07",
}
RULES = Rules("here", 1024, reschedule_after=120, lost_after=600, cancel_orphans=True)
REQUEST = ExecutionRequest("core.noop", {}, MistralIds("here", action_execution_id="a-1"))
READ = Inputs(REQUEST)
POST = "http://st2/v1/executions"
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
CANCELABLE = [status for status in UNFINISHED if status != "pending"]


def child(status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {
        "id": "6b0400000000000000000001",
        "status": status,
        "web_url": "https://st2/#/history/1",
        "context": {"mistral": {"site": "here", "action_execution_id": "a-1"}},
        "result": {"stdout": "x"},
        **more,
    }


def decision(
    action: Any = ACTION,
    found: Any = None,
    base: str = "st2.action",
    *,
    rules: Rules = RULES,
    **more: Any,
) -> Effect:
    """Decide about an action whose children were listed and whose inputs were read."""
    sure = {"is_first": True, "children": 1 if found else 0, "inputs": READ}
    return decide(Seen(action, base=base, child=found, **{**sure, **more}), rules)


# -- a final child -------------------------------------------------------------------------------


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
def test_final_child_completes_its_action(status: str, state: str) -> None:
    st2 = {
        "execution_id": "6b0400000000000000000001",
        "status": status,
        "web_url": "https://st2/#/history/1",
    }
    assert decision(found=child(status)) == Complete("a-1", state, {"stdout": "x", "st2": st2})


@pytest.mark.parametrize("status", [*UNFINISHED, "canceling", "a status of the future"])
def test_unfinished_child_leaves_its_action_running(status: str) -> None:
    # It may have a result already: StackStorm keeps one that was POSTed.
    assert isinstance(decision(found=child(status)), Wait)


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "CANCELLED", "PAUSED", "IDLE"])
def test_only_a_running_action_is_completed(state: str) -> None:
    assert isinstance(decision({**ACTION, "state": state}, child()), Wait)


def test_action_of_another_kind_is_not_completed_for_a_context_that_names_it() -> None:
    effect = decision({**ACTION, "name": "std.async_noop"}, child(), base="std.async_noop")
    assert isinstance(effect, Wait)


def test_ad_hoc_action_counts_by_its_base() -> None:
    assert isinstance(decision({**ACTION, "name": "book.shell"}, child()), Complete)


def test_child_of_another_action_or_site_is_ignored() -> None:
    elsewhere = {"mistral": {"site": "there", "action_execution_id": "a-1"}}
    other = {"mistral": {"site": "here", "action_execution_id": "a-2"}}
    assert isinstance(decision(found=child(context=elsewhere)), Wait)
    assert isinstance(decision(found=child(context=other)), Wait)


def test_unknown_action_and_missing_child_are_left_alone() -> None:
    assert isinstance(decision(found=None), Wait)
    assert isinstance(decision(None, child()), Wait)


def test_final_child_is_listed_unless_it_is_known_to_be_the_first() -> None:
    unsure = Seen(ACTION, base="st2.action", child=child())
    assert decide(unsure, RULES) is Look.CHILDREN
    assert isinstance(decide(replace(unsure, is_first=True), RULES), Complete)
    assert isinstance(decide(replace(unsure, children=2), RULES), Complete)


def test_cancelled_child_is_always_listed_because_it_may_be_a_duplicate() -> None:
    cancelled = Seen(ACTION, base="st2.action", child=child("canceled"), is_first=True)
    assert decide(cancelled, RULES) is Look.CHILDREN
    assert isinstance(decide(replace(cancelled, children=1), RULES), Complete)


def test_large_result_is_fetched_before_it_is_delivered() -> None:
    large = child(result_size=2 * 1024 * 1024)
    del large["result"]
    assert decision(found=large) is Look.RESULT
    effect = decision(found=large, whole=True)
    assert isinstance(effect, Complete)
    assert set(effect.output) == {"st2"}


def test_first_child_is_found_before_a_large_result_is_fetched() -> None:
    large = child(result_size=2 * 1024 * 1024)
    del large["result"]
    assert decision(found=large, is_first=False, children=None) is Look.CHILDREN


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
    # An operator may resume it.
    Place("ERROR", "RUNNING"),
    # The attempt of an item is unknown.
    Place("RUNNING", "RUNNING", with_items=True, newer_attempt=True),
    None,
]


@pytest.mark.parametrize("place", GIVEN_UP)
@pytest.mark.parametrize("status", CANCELABLE)
def test_orphaned_child_is_cancelled(place: Place, status: str) -> None:
    effect = decision(found=child(status), place=place)
    assert isinstance(effect, Cancel)
    assert effect.execution_id == "6b0400000000000000000001"
    keeps = replace(RULES, cancel_orphans=False)
    assert isinstance(decision(found=child(status), place=place, rules=keeps), Wait)


@pytest.mark.parametrize("place", [CANCELLED, TIMED_OUT])
@pytest.mark.parametrize("root", [None, "running", "resuming", "canceled"])
def test_action_of_unwanted_inquiry_is_closed(place: Place, root: str | None) -> None:
    asked = child("pending")
    assert decision(found=asked, place=place) is Look.ROOT
    above = {"id": "r", "status": root} if root else None
    effect = decision(found=asked, place=place, root=above, root_observed=True)
    assert isinstance(effect, Close)
    assert (effect.state, effect.unanswered) == ("CANCELLED", asked["id"])
    assert "does not cancel" in effect.reason
    keeps = replace(RULES, cancel_orphans=False)
    assert isinstance(decision(found=asked, place=place, rules=keeps), Wait)


@pytest.mark.parametrize("place", [CANCELLED, TIMED_OUT, DELAYED, WAITING])
def test_root_that_was_paused_for_an_unwanted_inquiry_is_resumed(place: Place) -> None:
    asked, paused = child("pending"), {"id": "r", "status": "paused"}
    effect = decision(found=asked, place=place, root=paused, root_observed=True)
    assert isinstance(effect, Resume)
    assert effect.execution_id == "r"
    pausing = {"id": "r", "status": "pausing"}
    effect = decision(found=asked, place=place, root=pausing, root_observed=True)
    assert isinstance(effect, Wait), "StackStorm would refuse it"


def test_root_is_not_resumed_for_an_inquiry_of_an_old_attempt() -> None:
    assert decision(found=child("pending"), place=RETRIED) == Wait("its task was retried")


def test_root_of_an_inquiry_that_timed_out_is_resumed() -> None:
    """StackStorm's garbage collector does not know the runner, so it cannot resume its executions."""
    timed_out = child("timeout", runner={"name": "inquirer"})
    assert decision(found=timed_out) is Look.ROOT
    for status, kind in (("paused", Resume), ("pausing", Wait), ("running", Complete)):
        root = {"id": "r", "status": status}
        assert isinstance(decision(found=timed_out, root=root, root_observed=True), kind)


def test_pending_child_of_a_final_or_deleted_action_is_left_alone() -> None:
    assert isinstance(decision({**ACTION, "state": "CANCELLED"}, child("pending")), Wait)
    assert isinstance(decision(None, child("pending"), was_pending=True), Wait)


@pytest.mark.parametrize("place", WANTED)
@pytest.mark.parametrize("status", UNFINISHED)
def test_wanted_child_is_not_cancelled(place: Place | None, status: str) -> None:
    assert isinstance(decision(found=child(status), place=place), Wait)


@pytest.mark.parametrize("place", [CANCELLED, TIMED_OUT, *WANTED])
def test_result_is_delivered_if_it_starts_nothing_wrong(place: Place | None) -> None:
    assert isinstance(decision(found=child("canceled"), place=place), Complete)


@pytest.mark.parametrize("place", [DELAYED, WAITING, RETRIED])
def test_late_result_of_an_old_attempt_is_not_delivered(place: Place) -> None:
    assert isinstance(decision(found=child("succeeded"), place=place), Wait)


@pytest.mark.parametrize("place", [CANCELLED, TIMED_OUT])
def test_given_up_action_that_never_ran_is_closed(place: Place) -> None:
    for age in (0, 10_000):
        effect = decision(place=place, age=age)
        assert isinstance(effect, Close)
        assert effect.state == "CANCELLED"


@pytest.mark.parametrize("place", [DELAYED, WAITING, RETRIED])
def test_old_attempt_is_not_closed_while_a_newer_one_would_end_with_it(place: Place) -> None:
    assert isinstance(decision(place=place, age=10_000), Wait)


@pytest.mark.parametrize("status", CANCELABLE)
@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "CANCELLED"])
def test_child_of_a_final_action_is_cancelled(state: str, status: str) -> None:
    assert isinstance(decision({**ACTION, "state": state}, child(status)), Cancel)


@pytest.mark.parametrize("state", ["PAUSED", "IDLE"])
def test_child_of_a_paused_action_is_not_cancelled(state: str) -> None:
    assert isinstance(decision({**ACTION, "state": state}, child("running")), Wait)


def test_child_of_a_deleted_action_is_cancelled() -> None:
    assert isinstance(decision(None, child("running"), was_pending=True), Cancel)
    assert isinstance(decision(None, child("canceling"), was_pending=True), Wait)
    elsewhere = {"mistral": {"site": "there", "action_execution_id": "a-1"}}
    assert isinstance(decision(None, child("running", context=elsewhere), was_pending=True), Wait)


def test_child_of_an_action_that_was_never_pending_may_belong_to_another_mistral() -> None:
    assert isinstance(decision(None, child("running")), Wait)
    assert isinstance(decision({**ACTION, "state": "CANCELLED"}, child("running")), Cancel)


def test_place_combines_action_task_and_workflow() -> None:
    task = {"id": "t", "state": "RUNNING", "runtime_context": "{}"}
    older = {"created_at": "2026-11-23 04:16:06"}
    newer = {"created_at": "2026-11-23 04:16:08"}
    assert Place.of(ACTION, task, "RUNNING", [older, ACTION]) == Place("RUNNING", "RUNNING")
    assert Place.of(ACTION, task, "RUNNING", [ACTION, newer]).newer_attempt
    assert Place.of(ACTION, task, None, []).given_up == "its workflow is cancelled"
    items = {**task, "runtime_context": '{"with_items": {"count": 3}}'}
    assert Place.of(ACTION, items, "RUNNING", []).with_items


# -- lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "kind"), [(0, Wait), (119.9, Wait), (120, Schedule), (10_000, Schedule)]
)
def test_action_without_a_child_is_rescheduled_once_it_is_old(age: float, kind: type) -> None:
    effect = decision(age=age)
    assert isinstance(effect, kind)
    if isinstance(effect, Wait):
        assert effect.until == 120


@pytest.mark.parametrize(("age", "kind"), [(0, Wait), (599.9, Wait), (600, Close)])
def test_action_that_is_never_rescheduled_is_closed_once_it_is_lost(age: float, kind: type) -> None:
    effect = decision(age=age, rules=replace(RULES, reschedule_after=0))
    assert isinstance(effect, kind)
    if isinstance(effect, Close):
        assert effect.state == "ERROR"
        assert "lost before it reached StackStorm" in effect.reason


def test_action_waits_for_ever_without_reschedule_after_and_lost_after() -> None:
    never = replace(RULES, reschedule_after=0, lost_after=0)
    assert decision(age=1e9, rules=never) == Wait("it has no execution yet")
    assert isinstance(decision(age=1e9, vanished="x", rules=never), Wait)


@pytest.mark.parametrize(("age", "kind"), [(0, Wait), (599.9, Wait), (600, Close)])
def test_child_that_vanished_is_not_created_again(age: float, kind: type) -> None:
    effect = decision(age=age, vanished="6b04")
    assert isinstance(effect, kind)
    if isinstance(effect, Close):
        assert effect.state == "ERROR"
        assert "6b04" in effect.reason


@pytest.mark.parametrize(
    "more",
    [
        {"age": 120},
        {"age": 600, "rules": replace(RULES, reschedule_after=0)},
        {"place": CANCELLED},
    ],
)
def test_missing_child_is_looked_for_before_anything_follows(more: dict[str, Any]) -> None:
    assert decision(**more, inputs=None) is Look.INPUTS
    assert decision(**more, children=None) is Look.CHILDREN
    assert decision(**more, inputs=Inputs()) == Wait("it is for another StackStorm")


@pytest.mark.parametrize("more", [{"age": 600}, {"place": CANCELLED}])
def test_second_child_is_looked_for_when_the_first_one_vanished(more: dict[str, Any]) -> None:
    assert decision(**more, vanished="6b04", inputs=None, children=None) is Look.CHILDREN
    assert isinstance(decision(**more, vanished="6b04", inputs=None), Close)


def test_unreadable_inputs_do_not_keep_an_action_from_being_closed() -> None:
    unreadable = Inputs(error=InputError("input", "is not in Mistral any more."))
    assert isinstance(decision(place=CANCELLED, inputs=unreadable), Close)
    never = replace(RULES, reschedule_after=0)
    assert isinstance(decision(age=600, inputs=unreadable, rules=never), Close)


# -- rejected by StackStorm ----------------------------------------------------------------------


def rejected(error: RemoteError, **more: Any) -> Effect:
    return decision(**{"age": 1000, "rejection": error, "children": None, **more})


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422, 500])
def test_action_is_closed_if_stackstorm_rejects_its_request(status: int) -> None:
    effect = rejected(Answered("POST", POST, status, "no such action"))
    assert isinstance(effect, Close)
    assert effect.state == "ERROR"
    assert "no such action" in effect.reason


@pytest.mark.parametrize(
    "error",
    [
        Answered("POST", POST, 429, "no"),
        Answered("POST", POST, 401, "no"),
        Answered("POST", POST, 302, "no"),
        Answered("GET", POST, 400, "no"),
        Answered("POST", "http://st2/auth/v1/tokens", 403, "no"),
        OutcomeUnknown("POST", POST, "no", status=503),
        OutcomeUnknown("POST", POST, "no"),
        OutcomeUnknown("GET", POST, "no", status=500),
        NotSent("POST", POST, "no"),
    ],
)
def test_action_is_retried_if_the_rejection_concerns_the_moment(error: RemoteError) -> None:
    effect = rejected(error, retries_exhausted=True)
    assert isinstance(effect, Wait)
    assert effect.error is error


def test_repeated_500_counts_as_a_rejection_once_no_child_is_found() -> None:
    error = OutcomeUnknown("POST", POST, "no", status=500)
    first = rejected(error)
    assert isinstance(first, Wait)
    assert first.error is error
    assert rejected(error, retries_exhausted=True) is Look.CHILDREN
    assert isinstance(rejected(error, retries_exhausted=True, children=0), Close)


def test_child_that_was_created_although_stackstorm_answered_500_counts() -> None:
    error = OutcomeUnknown("POST", POST, "no", status=500)
    effect = decision(found=child("running"), rejection=error, retries_exhausted=True)
    assert effect == Wait("it is running")


def test_rejected_action_is_closed_only_once_it_is_lost() -> None:
    error = Answered("POST", POST, 400, "no such action")
    effect = rejected(error, age=599)
    assert isinstance(effect, Wait)
    assert (effect.error, effect.until) == (error, 600)
    assert isinstance(rejected(error, age=600), Close)
    never = replace(RULES, lost_after=0)
    assert isinstance(rejected(error, age=1e9, rules=never), Wait)


def test_action_whose_inputs_cannot_be_sent_is_closed_once_it_is_lost() -> None:
    error = InputError("ref", "names no action.")
    unreadable = Inputs(error=error)
    effect = decision(age=599, inputs=unreadable)
    assert isinstance(effect, Wait)
    assert effect.error is error
    closed = decision(age=600, inputs=unreadable)
    assert isinstance(closed, Close)
    assert "ref: names no action." in closed.reason


# -- other projects ------------------------------------------------------------------------------

CLOSED = NoAccess("other", "it belongs to it", "Give a role.")

# What would be done for an action with access to its project.
WORK: list[tuple[str, dict[str, Any], type]] = [
    ("RUNNING", {"found": child("succeeded")}, Complete),
    ("RUNNING", {"age": 300}, Schedule),
    ("RUNNING", {"vanished": "x", "age": 700}, Close),
    ("RUNNING", {"place": Place("CANCELLED", "CANCELLED")}, Close),
    ("RUNNING", {"found": child("running"), "place": CANCELLED}, Cancel),
    ("ERROR", {"found": child("running")}, Cancel),
]


@pytest.mark.parametrize(("state", "seen", "kind"), WORK)
def test_nothing_is_done_without_access_to_the_project(
    state: str, seen: dict[str, Any], kind: type
) -> None:
    action = {**ACTION, "state": state}
    assert isinstance(decision(action, **seen), kind)
    assert decision(action, no_access=CLOSED, **seen) == Wait("it belongs to it", no_access=CLOSED)


def test_action_of_another_kind_and_project_is_not_reported() -> None:
    other = {**ACTION, "name": "std.noop"}
    effect = decision(other, child(), base="std.noop", no_access=CLOSED)
    assert isinstance(effect, Wait)
    assert effect.no_access is None


def test_execution_of_a_hidden_action_is_not_cancelled() -> None:
    """A missing action is deleted only if the token sees its project."""
    given = {"found": child("running"), "was_pending": True}
    assert isinstance(decision(None, **given), Cancel)
    assert isinstance(decision(None, hidden=True, **given), Wait)
    effect = decision(None, hidden=True, no_access=CLOSED, **given)
    assert effect == Wait("it belongs to it", no_access=CLOSED)


def test_execution_with_unsigned_ids_does_not_count_with_a_key() -> None:
    found = child("succeeded")
    rules = replace(RULES, context_keys=("new", "old"))
    assert isinstance(decision(found=found), Complete)
    effect = decision(found=found, rules=rules)
    assert effect == Wait("the execution belongs to another action or site")
    for key, kind in (("old", Complete), ("new", Complete), ("other", Wait)):
        signed = {**found, "context": {"mistral": sign_ids(found["context"]["mistral"], key)}}
        assert isinstance(decision(found=signed, rules=rules), kind)


# -- duplicates ----------------------------------------------------------------------------------


BASE = "st2.action"


def test_duplicates_that_are_not_final_are_cancelled() -> None:
    seen = Seen(ACTION, BASE)
    assert decide_duplicates(seen, None) is Look.CHILDREN
    statuses = ["running", "succeeded", "running", "canceling"]
    children = [child(status, id=str(number)) for number, status in enumerate(statuses)]
    effects = decide_duplicates(seen, children)
    assert isinstance(effects, tuple)
    assert [effect.execution_id for effect in effects] == ["2"]
    assert decide_duplicates(Seen(None), children) == effects
    assert decide_duplicates(seen, children[:1]) == ()
    assert decide_duplicates(seen, []) == ()


def test_duplicates_are_not_even_listed_without_access() -> None:
    effect = decide_duplicates(Seen(ACTION, BASE, no_access=CLOSED), None)
    assert effect == Wait("it belongs to it", no_access=CLOSED)


def test_duplicates_of_a_hidden_action_are_not_cancelled() -> None:
    assert decide_duplicates(Seen(None), None) is Look.CHILDREN
    assert isinstance(decide_duplicates(Seen(None, hidden=True), None), Wait)


def test_executions_that_name_an_action_of_another_kind_are_no_duplicates() -> None:
    """Anybody who may create executions may write any action id into their context."""
    other = Seen({**ACTION, "name": "std.async_noop"}, "std.async_noop")
    children = [child("running", id=str(number)) for number in range(2)]
    for found in (None, children):
        assert isinstance(decide_duplicates(other, found), Wait)


# -- repair --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "kind"), [(119, Wait), (120, Close)])
def test_repair_does_not_wait_for_lost_after(age: float, kind: type) -> None:
    rules = replace(RULES, repair_after=RULES.reschedule_after)
    rejection = Answered("POST", POST, 400, "no")
    assert isinstance(decision(age=age, rejection=rejection, rules=rules), kind)


def test_forced_repair_waits_for_nothing() -> None:
    rules = replace(RULES, repair_after=-math.inf)
    # The clocks of two hosts differ.
    assert isinstance(decision(age=-1, rules=rules), Schedule)
