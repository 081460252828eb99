"""Test the decisions about a parent and its workflow."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.relay import PARENT, SITE, WORKFLOW, parent

from st2actions_mistral.bridge.parents.decide import (
    Cancel,
    ChangeState,
    ChangeStatus,
    Effect,
    Finish,
    Look,
    Refuse,
    Rules,
    Seen,
    StateSeen,
    SubWorkflowSeen,
    Wait,
    decide,
    decide_sub_workflow,
    disagree,
    is_paused_workflow,
    is_unwanted,
    may_be_parent,
    parent_of,
)
from st2actions_mistral.model import states
from st2actions_mistral.model.links import WorkflowRef, workflow_execution_id
from st2actions_mistral.model.project import NoAccess

OTHER = "6b03c160746e6986596007ff"
UNFINISHED = ["RUNNING", "PAUSED", "IDLE"]
CLOSED = NoAccess("other", "it belongs to it", "Give a role.")
START_UNKNOWN = {"error": "x", "mistral": {"start": "unknown"}}


def execution(status: str = "running", id_: str = PARENT, **given: Any) -> dict[str, Any]:
    return parent(id_, status=status, **given)


def workflow(
    state: str = "RUNNING", owner: str = PARENT, notify: object = None, **given: Any
) -> dict[str, Any]:
    context = {"parent": {"execution_id": owner}}
    env = {"__actions": {"st2.callback": {"st2_context": context}}}
    return {
        "id": WORKFLOW,
        "state": state,
        "description": f"StackStorm execution {PARENT}",
        "params": json.dumps({"env": env, "notify": notify}),
        **given,
    }


def decided(*given: Any, lost_after: float = 600, **more: Any) -> Effect:
    return decide(Seen(*given, **more), Rules(SITE, lost_after))


@pytest.mark.parametrize("state", ["RUNNING", "IDLE"])
def test_state_of_running_workflow_suffices(state: str) -> None:
    assert decide(StateSeen(state), Rules(SITE, 600)) == Wait(f"its workflow is {state}", again=True)


@pytest.mark.parametrize("state", [None, "PAUSED", *sorted(states.MISTRAL_FINAL)])
def test_other_state_needs_a_whole_look(state: str | None) -> None:
    assert decide(StateSeen(state), Rules(SITE, 600)) == Look.BOTH


@pytest.mark.parametrize("status", ["running", "pausing", "paused", "resuming"])
@pytest.mark.parametrize(
    ("state", "expected"), [("SUCCESS", "succeeded"), ("ERROR", "failed"), ("CANCELLED", "canceled")]
)
def test_parent_finishes_with_its_workflow(status: str, state: str, expected: str) -> None:
    assert decided(execution(status), workflow(state)) == Finish(PARENT, expected)


@pytest.mark.parametrize("state", sorted(states.MISTRAL_FINAL))
def test_canceling_parent_is_canceled(state: str) -> None:
    assert decided(execution("canceling"), workflow(state)) == Finish(PARENT, "canceled")
    # Also in the middle of the start, where it cannot name the workflow.
    nameless = execution("canceling", context={})
    assert decided(nameless, workflow(state)) == Finish(PARENT, "canceled")


@pytest.mark.parametrize("status", ["running", "canceling"])
@pytest.mark.parametrize("state", sorted(states.MISTRAL_FINAL))
def test_end_that_the_notifier_knows_of_is_left_to_it_for_some_seconds(status: str, state: str) -> None:
    notified = workflow(state, notify=[{"type": "st2"}])
    seen = Seen(execution(status), notified, state_for=1.5)
    effect = decide(seen, Rules(SITE, 600, notifier_first=5))
    assert effect == Wait("the notifier knows that its workflow has ended", seconds=3.5)
    assert isinstance(decide(replace(seen, state_for=5), Rules(SITE, 600, 5)), Finish)
    assert isinstance(decide(seen, Rules(SITE, 600)), Finish)
    assert isinstance(decide(replace(seen, workflow=workflow(state)), Rules(SITE, 600, 5)), Finish)


@pytest.mark.parametrize("status", sorted(states.ST2_FINAL))
@pytest.mark.parametrize("state", sorted(states.MISTRAL_FINAL))
def test_final_parent_is_never_changed(status: str, state: str) -> None:
    assert isinstance(decided(execution(status), workflow(state)), Wait)
    assert isinstance(decided(execution(status), None, missing_for=1e9), Wait)


@pytest.mark.parametrize("state", UNFINISHED)
@pytest.mark.parametrize("status", ["succeeded", "failed", "timeout", "abandoned"])
def test_workflow_of_final_parent_is_left_running(status: str, state: str) -> None:
    effect = decided(execution(status), workflow(state))
    assert effect == Wait(f"its workflow is {state}", again=True)


@pytest.mark.parametrize("state", ["RUNNING", "IDLE"])
def test_running_workflow_is_waited_for(state: str) -> None:
    effect = decided(execution(), workflow(state), paused_below=False)
    assert effect == Wait(f"its workflow is {state}", again=True)


def test_running_parent_is_paused_with_a_workflow_below() -> None:
    assert decided(execution(), workflow()) == Look.PAUSED
    effect = decided(execution(), workflow(), paused_below=True)
    assert effect == ChangeStatus(PARENT, "pausing", "a workflow below it is paused")
    # Another Mistral's workflow counts too. A chain is no such workflow, and may resume itself.
    assert is_paused_workflow(execution("paused"))
    assert not is_paused_workflow(execution("running"))
    assert not is_paused_workflow(execution("paused", context={}))


def test_parent_that_cannot_be_paused_runs_above_a_paused_workflow() -> None:
    effect = decided(execution(), workflow(), paused_below=True, pause_refused=True)
    assert effect == Wait("its workflow is RUNNING", again=True)


@pytest.mark.parametrize("status", ["pausing", "paused", "resuming"])
def test_only_a_running_parent_is_paused_with_a_workflow_below(status: str) -> None:
    effects = [decided(execution(status), workflow(), paused_below=p) for p in (None, False, True)]
    assert effects == [effects[0]] * 3


def test_paused_parent_of_paused_workflow_waits_for_an_event() -> None:
    assert decided(execution("paused"), workflow("PAUSED")) == Wait("its workflow is PAUSED")
    assert not disagree("paused", "PAUSED")


def test_parent_is_paused_and_resumed_with_its_workflow() -> None:
    pause = ChangeStatus(PARENT, "pausing", "its workflow is PAUSED")
    assert decided(execution(), workflow("PAUSED")) == pause
    assert disagree("running", "PAUSED")
    resume = ChangeStatus(PARENT, "resuming", "its workflow is RUNNING")
    assert decided(execution("paused"), workflow()) == resume
    assert disagree("paused", "RUNNING")


def test_refused_pause_is_not_repeated() -> None:
    effect = decided(execution(), workflow("PAUSED"), pause_refused=True)
    assert effect == Wait("its workflow is PAUSED", again=True)


def test_pausing_parent_is_paused_when_nothing_below_runs() -> None:
    pausing, paused = execution("pausing"), workflow("PAUSED")
    assert decided(pausing, paused) == Look.BELOW
    waits = decided(pausing, paused, active_below=True)
    assert waits == Wait("its workflow is PAUSED", again=True)
    effect = decided(pausing, paused, active_below=False)
    assert effect == ChangeStatus(PARENT, "paused", "its workflow is PAUSED")
    assert disagree("pausing", "PAUSED")


def test_workflow_of_pausing_parent_is_paused() -> None:
    reason = f"StackStorm execution {PARENT} is pausing"
    assert decided(execution("pausing"), workflow()) == ChangeState(WORKFLOW, "PAUSED", reason)


def test_workflow_of_resuming_parent_is_resumed_after_a_while() -> None:
    # Before that its runner does it. The workflow may have paused itself again since.
    resuming = execution("resuming")
    assert isinstance(decided(resuming, workflow("PAUSED"), status_for=14), Wait)
    assert isinstance(decided(resuming, workflow(), status_for=14), Wait)
    reason = f"StackStorm execution {PARENT} is resuming"
    effect = decided(resuming, workflow("PAUSED"), status_for=15)
    assert effect == ChangeState(WORKFLOW, "RUNNING", reason)
    effect = decided(resuming, workflow(), status_for=15)
    assert effect == ChangeStatus(PARENT, "running", "its workflow is RUNNING")


@pytest.mark.parametrize(("status", "state"), [("pausing", "RUNNING"), ("resuming", "PAUSED")])
def test_workflow_of_another_project_is_not_changed(status: str, state: str) -> None:
    theirs = workflow(state, project_id="other")
    effect = decided(execution(status), theirs, no_access=CLOSED, status_for=60)
    assert effect == Refuse(WORKFLOW, CLOSED)


@pytest.mark.parametrize("status", ["running", "paused", "pausing", "resuming"])
@pytest.mark.parametrize("state", ["RUNNING", "PAUSED"])
def test_only_the_owner_is_paused_and_resumed(status: str, state: str) -> None:
    given = {"status_for": 60, "active_below": False}
    assert isinstance(decided(execution(status), workflow(state, owner=OTHER), **given), Wait)
    nameless = execution(status, context={})
    assert isinstance(decided(nameless, workflow(state), **given), Wait)


@pytest.mark.parametrize("state", UNFINISHED)
@pytest.mark.parametrize(
    "unwanted",
    [
        execution("canceling"),
        execution("canceled"),
        execution("failed", result=START_UNKNOWN),
        execution("canceled", context={}),
    ],
)
def test_unwanted_workflow_is_cancelled(unwanted: dict[str, Any], state: str) -> None:
    effect = decided(unwanted, workflow(state))
    assert isinstance(effect, Cancel)
    assert effect.workflow_execution_id == WORKFLOW
    assert PARENT in effect.reason


@pytest.mark.parametrize("status", ["canceling", "canceled"])
def test_owner_is_looked_at_before_workflow_is_cancelled(status: str) -> None:
    rerun = workflow(owner=OTHER)
    assert decided(execution(status), rerun) == Look.OWNER
    assert isinstance(decided(execution("running"), rerun), Wait)


@pytest.mark.parametrize("status", ["running", "succeeded", "failed", "paused"])
@pytest.mark.parametrize("old", ["canceling", "canceled"])
def test_owner_decides_after_rerun(old: str, status: str) -> None:
    owner = execution(status, OTHER)
    effect = decided(execution(old), workflow(owner=OTHER), owner, owner_observed=True)
    assert isinstance(effect, Wait)


def test_rerun_is_cancelled_with_its_new_parent() -> None:
    old, new = execution("failed"), execution("canceling", OTHER)
    assert isinstance(decided(new, workflow(owner=OTHER)), Cancel)
    assert decided(old, workflow(owner=OTHER)) == Look.OWNER
    assert isinstance(decided(old, workflow(owner=OTHER), new, owner_observed=True), Cancel)
    running = execution("running")
    assert isinstance(decided(running, workflow(owner=OTHER), new, owner_observed=True), Wait)


def test_unknown_parent_cancels_nothing() -> None:
    assert isinstance(decided(None, workflow()), Wait)
    rerun = workflow(owner=OTHER)
    assert isinstance(decided(execution("canceled"), rerun, None, owner_observed=True), Wait)


@pytest.mark.parametrize("status", ["running", "canceling", "canceled"])
@pytest.mark.parametrize("state", ["RUNNING", "SUCCESS"])
def test_execution_that_only_claims_a_workflow_does_not_count(status: str, state: str) -> None:
    claimant = execution(status, OTHER)
    effect = decided(claimant, workflow(state))
    if isinstance(effect, Look):
        effect = decided(claimant, workflow(state), execution("running"), owner_observed=True)
        assert effect == Wait("its workflow is RUNNING", again=True)
    else:
        assert effect == Wait("its workflow runs for another execution")


def test_execution_that_is_only_claimed_by_a_workflow_is_not_finished() -> None:
    """Anyone who may start workflows in Mistral chooses id, description and environment."""
    victim = execution(context={"user": "x"})
    assert decided(victim, workflow("SUCCESS")) == Wait("it does not name its workflow yet", again=True)
    elsewhere = execution(context=WorkflowRef("elsewhere", WORKFLOW, "n").as_context({}))
    assert isinstance(decided(elsewhere, workflow("SUCCESS")), Wait)


@pytest.mark.parametrize(("status", "expected"), [("running", "failed"), ("canceling", "canceled")])
def test_missing_workflow_is_lost_after_lost_after(status: str, expected: str) -> None:
    assert isinstance(decided(execution(status), None, missing_for=599), Wait)
    effect = decided(execution(status), None, missing_for=600)
    assert isinstance(effect, Finish)
    assert effect.status == expected
    assert WORKFLOW in str(effect.lost)


def test_cancelled_execution_whose_runner_never_reached_mistral_is_canceled() -> None:
    nameless = execution("canceling", context={})
    assert isinstance(decided(nameless, None, missing_for=599), Wait)
    effect = decided(nameless, None, missing_for=600)
    assert isinstance(effect, Finish)
    assert effect.status == "canceled"
    assert isinstance(decided(execution("running", context={}), None, missing_for=1e9), Wait)
    other_runner = execution("canceling", context={}, runner={"name": "orquesta"})
    assert isinstance(decided(other_runner, None, missing_for=1e9), Wait)


def test_lost_after_zero_means_never() -> None:
    assert isinstance(decided(execution(), None, missing_for=1e9, lost_after=0), Wait)


def test_parent_without_workflow_is_looked_at_again() -> None:
    effect = decided(execution(context={}), None, missing_for=1e9)
    assert effect == Wait("it has no workflow yet", again=True)
    other = execution(context={}, runner={"name": "noop"})
    assert decided(other, None) == Wait("it has no workflow yet")


@pytest.mark.parametrize(("rejections", "truncate"), [(0, False), (2, False), (3, True), (9, True)])
def test_result_is_truncated_after_three_rejections(rejections: int, truncate: bool) -> None:
    effect = decided(execution(), workflow("SUCCESS"), rejections=rejections)
    assert effect == Finish(PARENT, "succeeded", truncate=truncate)


@pytest.mark.parametrize("result", [None, [], {}, {"mistral": 5}, {"mistral": {"start": "done"}}])
def test_failed_execution_alone_is_not_unwanted(result: Any) -> None:
    assert not is_unwanted(execution("failed", result=result))
    assert not is_unwanted(execution("succeeded", result=START_UNKNOWN))


def test_may_be_parent_by_context_or_runner() -> None:
    assert may_be_parent(execution(), SITE)
    assert may_be_parent(execution(context={}), SITE)
    assert not may_be_parent(execution(), "elsewhere")
    assert not may_be_parent({"id": "x", "context": {}, "runner": {"name": "noop"}}, SITE)
    assert not may_be_parent({"id": "x"}, SITE)


@pytest.mark.parametrize(
    "context", [None, {}, {"parent": 5}, {"parent": {}}, {"parent": {"execution_id": "last"}}]
)
def test_parent_of_reads_any_context(context: Any) -> None:
    assert parent_of({"context": context}) is None
    assert parent_of({"context": {"parent": {"execution_id": PARENT}}}) == PARENT


def test_parent_whose_runner_died_finishes_after_lost_after() -> None:
    nameless = execution(context={})
    ended = workflow("SUCCESS")
    assert isinstance(decided(nameless, ended, missing_for=599), Wait)
    assert decided(nameless, ended, missing_for=600) == Finish(PARENT, "succeeded")
    # What a workflow alone claims never suffices.
    other_runner = {**nameless, "runner": {"name": "noop"}}
    assert isinstance(decided(other_runner, ended, missing_for=600), Wait)
    other_id = workflow("SUCCESS", id=workflow_execution_id(OTHER))
    assert isinstance(decided(nameless, other_id, missing_for=600), Wait)
    assert isinstance(decided(nameless, ended, missing_for=10**6, lost_after=0), Wait)


def test_sub_workflow_is_cancelled_with_its_outermost_workflow() -> None:
    below = {"id": "sub", "state": "RUNNING"}
    seen = SubWorkflowSeen(below, workflow("CANCELLED"))
    assert isinstance(decide_sub_workflow(seen), Cancel)
    for root in (None, workflow("ERROR"), workflow("CANCELLED", description="a user's")):
        assert isinstance(decide_sub_workflow(replace(seen, root=root)), Wait)
    for ended in (None, {**below, "state": "SUCCESS"}):
        assert isinstance(decide_sub_workflow(replace(seen, workflow=ended)), Wait)


def test_workflow_is_not_cancelled_without_access() -> None:
    canceled = execution("canceled")
    assert isinstance(decided(canceled, workflow()), Cancel)
    assert decided(canceled, workflow(), no_access=CLOSED) == Refuse(WORKFLOW, CLOSED)


def test_sub_workflow_is_not_cancelled_without_access() -> None:
    below = {"id": "sub", "state": "RUNNING"}
    seen = SubWorkflowSeen(below, workflow("CANCELLED"), no_access=CLOSED)
    assert decide_sub_workflow(seen) == Refuse("sub", CLOSED)


def test_parent_finishes_without_access() -> None:
    """That writes nothing to Mistral."""
    seen = decided(execution(), workflow("SUCCESS"), no_access=CLOSED)
    assert seen == Finish(PARENT, "succeeded")


def test_hidden_workflow_is_not_lost() -> None:
    assert isinstance(decided(execution(), None, missing_for=700), Finish)
    refused = decided(execution(), None, missing_for=700, hidden=True)
    assert isinstance(refused, Refuse)
    assert refused.no_access.project_id is None
    refused = decided(execution(), None, missing_for=700, hidden=True, no_access=CLOSED)
    assert refused == Refuse(WORKFLOW, CLOSED)
