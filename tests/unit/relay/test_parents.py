"""What is done about a parent and its workflow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from st2actions_mistral.model import states
from st2actions_mistral.model.workflow import WorkflowRef, workflow_execution_id
from st2actions_mistral.relay.parents import (
    Finish,
    Leave,
    Seen,
    Stop,
    may_be_parent,
    parent_of,
    settle,
    wants_no_more,
)

PARENT = "6b03c160746e6986596007f7"
OTHER = "6b03c160746e6986596007ff"
ID = workflow_execution_id(PARENT)
UNFINISHED = ["RUNNING", "PAUSED", "IDLE"]
UNKNOWN = {"error": "x", "mistral": {"start": "unknown"}}


def execution(status: str = "running", id_: str = PARENT, **given: Any) -> dict[str, Any]:
    context = WorkflowRef("here", ID, "n").as_context()
    return {"id": id_, "status": status, "context": context, "runner": {"name": "mistral-v2"}, **given}


def workflow(state: str = "RUNNING", owner: str = PARENT, **given: Any) -> dict[str, Any]:
    context = {"parent": {"execution_id": owner}}
    env = {"__actions": {"st2.callback": {"st2_context": context}}}
    return {
        "id": ID,
        "state": state,
        "description": f"StackStorm execution {PARENT}",
        "params": json.dumps({"env": env}),
        **given,
    }


def decide(seen: Seen, lost_after: float = 600) -> Any:
    return settle(seen, "here", lost_after)


@pytest.mark.parametrize("status", ["running", "pausing", "paused", "resuming"])
@pytest.mark.parametrize(
    ("state", "wanted"), [("SUCCESS", "succeeded"), ("ERROR", "failed"), ("CANCELLED", "canceled")]
)
def test_a_parent_gets_the_end_of_its_workflow(status: str, state: str, wanted: str) -> None:
    assert decide(Seen(execution(status), workflow(state))) == Finish(PARENT, wanted)


@pytest.mark.parametrize("state", sorted(states.MISTRAL_FINAL))
def test_a_parent_that_is_canceling_is_canceled(state: str) -> None:
    assert decide(Seen(execution("canceling"), workflow(state))) == Finish(PARENT, "canceled")
    # Also in the middle of the start, where it cannot name the workflow.
    nameless = execution("canceling", context={})
    assert decide(Seen(nameless, workflow(state))) == Finish(PARENT, "canceled")


@pytest.mark.parametrize("status", sorted(states.ST2_FINAL))
@pytest.mark.parametrize("state", sorted(states.MISTRAL_FINAL))
def test_a_final_parent_is_never_touched(status: str, state: str) -> None:
    assert isinstance(decide(Seen(execution(status), workflow(state))), Leave)
    assert isinstance(decide(Seen(execution(status), None, age=1e9)), Leave)


@pytest.mark.parametrize("state", UNFINISHED)
@pytest.mark.parametrize("status", ["running", "paused", "succeeded", "failed", "timeout", "abandoned"])
def test_a_workflow_at_work_is_left_alone(status: str, state: str) -> None:
    effect = decide(Seen(execution(status), workflow(state)))
    assert effect == Leave(f"its workflow is {state}", again=True)


@pytest.mark.parametrize("state", UNFINISHED)
@pytest.mark.parametrize(
    "parent",
    [
        execution("canceling"),
        execution("canceled"),
        execution("failed", result=UNKNOWN),
        execution("canceled", context={}),
    ],
)
def test_a_workflow_that_nobody_waits_for_is_cancelled(parent: dict[str, Any], state: str) -> None:
    effect = decide(Seen(parent, workflow(state), owner=parent))
    assert isinstance(effect, Stop)
    assert effect.workflow_execution_id == ID
    assert PARENT in effect.reason


@pytest.mark.parametrize("status", ["running", "succeeded", "failed", "paused"])
def test_the_one_that_it_was_run_again_for_decides(status: str) -> None:
    old, new = execution("canceled"), execution(status, OTHER)
    assert isinstance(decide(Seen(old, workflow(owner=OTHER), owner=new)), Leave)


def test_one_that_was_run_again_is_cancelled_with_its_new_parent() -> None:
    old, new = execution("failed"), execution("canceling", OTHER)
    for parent in (old, new):
        effect = decide(Seen(parent, workflow(owner=OTHER), owner=new))
        assert isinstance(effect, Stop if parent is new else Leave)


def test_a_parent_that_is_gone_cancels_nothing() -> None:
    assert isinstance(decide(Seen(None, workflow())), Leave)
    assert isinstance(decide(Seen(execution("canceled"), workflow(owner=OTHER))), Leave)


@pytest.mark.parametrize("status", ["running", "canceling", "canceled"])
@pytest.mark.parametrize("state", ["RUNNING", "SUCCESS"])
def test_who_only_claims_a_workflow_has_no_say(status: str, state: str) -> None:
    stranger = execution(status, OTHER)
    seen = Seen(stranger, workflow(state), owner=execution("canceled"))
    assert decide(seen) == Leave("its workflow runs for another execution")


def test_who_is_only_claimed_by_a_workflow_is_not_ended() -> None:
    """Whoever may start workflows in Mistral chooses id, description and environment."""
    victim = execution(context={"user": "x"})
    assert decide(Seen(victim, workflow("SUCCESS"))) == Leave(
        "it does not name its workflow yet", again=True
    )
    elsewhere = execution(context=WorkflowRef("elsewhere", ID, "n").as_context())
    assert isinstance(decide(Seen(elsewhere, workflow("SUCCESS"))), Leave)


def test_a_workflow_that_is_gone_is_lost_in_the_end() -> None:
    for status, wanted in (("running", "failed"), ("canceling", "canceled")):
        assert isinstance(decide(Seen(execution(status), None, age=599)), Leave)
        effect = decide(Seen(execution(status), None, age=600))
        assert isinstance(effect, Finish)
        assert effect.status == wanted
        assert ID in str(effect.lost)
    assert isinstance(decide(Seen(execution(), None, age=1e9), lost_after=0), Leave)


def test_a_parent_that_names_none_yet_is_looked_at_again() -> None:
    assert decide(Seen(execution(context={}), None, age=1e9)) == Leave(
        "it has no workflow yet", again=True
    )


@pytest.mark.parametrize("result", [None, [], {}, {"mistral": 5}, {"mistral": {"start": "done"}}])
def test_a_failure_alone_does_not_cancel(result: Any) -> None:
    assert not wants_no_more(execution("failed", result=result))
    assert not wants_no_more(execution("succeeded", result=UNKNOWN))


def test_who_may_be_a_parent() -> None:
    assert may_be_parent(execution(), "here")
    assert may_be_parent(execution(context={}), "here")
    assert not may_be_parent(execution(), "elsewhere")
    assert not may_be_parent({"id": "x", "context": {}, "runner": {"name": "noop"}}, "here")
    assert not may_be_parent({"id": "x"}, "here")


@pytest.mark.parametrize(
    "context", [None, {}, {"parent": 5}, {"parent": {}}, {"parent": {"execution_id": 5}}]
)
def test_a_child_without_a_parent_has_none(context: Any) -> None:
    assert parent_of({"context": context}) is None
    assert parent_of({"context": {"parent": {"execution_id": PARENT}}}) == PARENT


def test_a_parent_whose_runner_died_before_it_could_name_the_workflow_ends_all_the_same() -> None:
    nameless = execution(context={})
    ended = workflow("SUCCESS")
    assert isinstance(decide(Seen(nameless, ended, age=599)), Leave)
    assert decide(Seen(nameless, ended, age=600)) == Finish(PARENT, "succeeded")
    # Never by the word of whoever starts a workflow alone.
    stranger = {**nameless, "runner": {"name": "noop"}}
    assert isinstance(decide(Seen(stranger, ended, age=600)), Leave)
    other = workflow("SUCCESS", id=workflow_execution_id(OTHER))
    assert isinstance(decide(Seen(nameless, other, age=600)), Leave)
    assert isinstance(decide(Seen(nameless, ended, age=10**6), lost_after=0), Leave)
