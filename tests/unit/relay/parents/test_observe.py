"""Test the observation of parents and workflows, and the comparison of both systems."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.relay import SITE, Systems, action, child, child_of, parent, task, workflow

from st2actions_mistral.errors import Answered
from st2actions_mistral.model.links import workflow_execution_id
from st2actions_mistral.relay.hints import Hints
from st2actions_mistral.relay.parents.decide import (
    Cancel,
    Effect,
    Look,
    Rules,
    Seen,
    StateSeen,
    SubWorkflowSeen,
    decide,
)
from st2actions_mistral.relay.parents.observe import Listing, ParentObserver

FIRST, SECOND = "a" * 24, "b" * 24
W1, W2 = workflow_execution_id(FIRST), workflow_execution_id(SECOND)


def observer(systems: Systems, **given: Any) -> ParentObserver:
    return ParentObserver(systems.st2, systems.clients, SITE, **given)


def compare(executions: list[Any], workflows: list[Any]) -> Listing:
    return observer(Systems(*executions, workflows=workflows)).compare()


def rerun(owner: str = SECOND) -> dict[str, Any]:
    context = {"parent": {"execution_id": owner}}
    params = {"env": {"__actions": {"st2.callback": {"st2_context": context}}}}
    return workflow(W1, FIRST, params=json.dumps(params))


def test_parent_of_running_workflow_is_not_reconciled() -> None:
    listing = compare([parent(FIRST, W1)], [workflow(W1, FIRST)])
    assert listing.pending == {FIRST: W1}
    assert not listing.changed
    assert not listing.sub_workflows


@pytest.mark.parametrize(
    "workflows", [[], [workflow(W1, FIRST, "SUCCESS")], [workflow(W1, FIRST, "CANCELLED")]]
)
def test_parent_of_final_or_missing_workflow_is_reconciled(workflows: list[Any]) -> None:
    assert compare([parent(FIRST, W1)], workflows).changed == {FIRST}


@pytest.mark.parametrize("status", ["canceling", "canceled", "failed"])
def test_parent_that_ends_before_its_workflow_is_reconciled(status: str) -> None:
    assert compare([parent(FIRST, W1, status)], [workflow(W1, FIRST)]).changed == {FIRST}


def test_execution_canceled_before_it_named_its_workflow_is_reconciled() -> None:
    nameless = {"id": FIRST, "status": "canceled", "context": {}}
    assert compare([nameless], [workflow(W1, FIRST)]).changed == {FIRST}


@pytest.mark.parametrize("executions", [[], [{"id": FIRST, "status": "succeeded", "context": {}}]])
def test_succeeded_or_deleted_parent_is_not_reconciled(executions: list[Any]) -> None:
    assert not compare(executions, [workflow(W1, FIRST)]).changed


def test_running_execution_without_workflow_is_reconciled() -> None:
    """Its runner may have died before it could name the workflow."""
    nameless = {"id": FIRST, "status": "running", "context": {}, "runner": {"name": "mistral-v2"}}
    listing = compare([nameless], [])
    assert listing.pending == {FIRST: W1}
    assert listing.changed == {FIRST}


def test_workflow_with_invalid_parent_id_does_not_hide_others() -> None:
    """Anyone who may start workflows in Mistral chooses both id and description."""
    name = "x" * 70_000
    systems = Systems(
        parent(FIRST, W1, "canceled"),
        workflows=[workflow(workflow_execution_id(name), name), workflow(W1, FIRST)],
    )
    asked: list[set[str]] = []
    systems.st2.hooks["statuses"] = asked.append
    assert observer(systems).compare().changed == {FIRST}
    assert asked == [{FIRST}]


def test_workflow_that_is_run_again_is_not_reconciled() -> None:
    executions = [parent(FIRST, W1, "canceled"), parent(SECOND, W1)]
    assert not compare(executions, [workflow(W1, FIRST)]).changed


def test_parents_of_other_sites_are_ignored() -> None:
    listing = compare([parent(FIRST, W1, site="elsewhere")], [])
    assert not listing.pending
    assert not listing.changed


@pytest.mark.parametrize(
    ("state", "found"), [("CANCELLED", {"sub"}), ("ERROR", set()), ("RUNNING", set())]
)
def test_sub_workflow_below_cancelled_workflow_is_found(state: str, found: set[str]) -> None:
    below = workflow("sub", description="sub-workflow execution", root_execution_id=W1)
    assert compare([], [workflow(W1, FIRST, state), below]).sub_workflows == found


def test_sub_workflow_of_unknown_workflow_is_ignored() -> None:
    below = workflow("sub", description="sub-workflow execution", root_execution_id=W1)
    assert not compare([], [below]).sub_workflows
    users = workflow(W1, description="a user's", state="CANCELLED")
    assert not compare([], [users, below]).sub_workflows


def test_sub_workflow_is_read_with_its_outermost_workflow() -> None:
    below = workflow("sub", root_execution_id=W1)
    parent_observer = observer(Systems(workflows=[workflow(W1, FIRST), below]))
    assert parent_observer.sub_workflow("sub") == SubWorkflowSeen(below, workflow(W1, FIRST))
    assert parent_observer.sub_workflow(W1) == SubWorkflowSeen(workflow(W1, FIRST), None)
    assert parent_observer.sub_workflow("gone") == SubWorkflowSeen(None, None)


def test_sub_workflow_without_children_takes_the_trust_of_its_outermost_workflow() -> None:
    below = workflow(W2, root_execution_id=W1, project_id="a")
    systems = Systems(workflows=[workflow(W1, FIRST, "CANCELLED", project_id="a"), below])
    systems.clients.authenticate(trusts={"t": "a"})
    hints = Hints()
    hints.learn_child("x", child_of("x", trust="t", workflow=W1))
    parent_observer = observer(systems, hints=hints)
    for _ in ("before its project is known", "after"):
        seen = parent_observer.sub_workflow(W2)
        assert (seen.workflow, seen.no_access) == (below, None)
        assert parent_observer.compare().sub_workflows == {W2}


def test_project_that_rejects_the_token_does_not_end_the_resync_for_others() -> None:
    below = workflow(W2, root_execution_id=W1, project_id="a")
    systems = Systems(parent(FIRST, W1), workflows=[below])
    systems.clients.authenticate("a")

    def reject(_: str) -> None:
        raise Answered("GET", "x", 403, "no")

    systems.clients.access("a").get_execution = reject
    listing = observer(systems).compare()
    assert listing.changed == {FIRST}
    # Its worker reports the error.
    assert listing.sub_workflows == {W2}


def test_every_row_of_a_comparison_is_a_heartbeat() -> None:
    beats: list[None] = []
    systems = Systems(parent(FIRST, W1), workflows=[workflow(W1, FIRST)])
    observer(systems, heartbeat=lambda: beats.append(None)).compare()
    assert len(beats) >= 2


def test_state_is_one_request() -> None:
    systems = Systems(workflows=[workflow(W1, FIRST)])
    assert observer(systems).state(W1) == StateSeen("RUNNING")
    assert observer(systems).state("gone") == StateSeen(None)
    assert systems.mistral.requests == {"execution_state": 2}


def observed(systems: Systems, parent_id: str) -> tuple[Seen, Effect]:
    """Observe until a decision needs nothing more."""
    parent_observer = observer(systems)
    seen = parent_observer.look(Look.BOTH, parent_id, StateSeen(None))
    while isinstance(effect := decide(seen, Rules(SITE, 600)), Look):
        seen = parent_observer.look(effect, parent_id, seen)
    return seen, effect


def test_running_parent_needs_no_owner() -> None:
    systems = Systems(parent(FIRST, W1), workflows=[rerun()])
    seen, _ = observed(systems, FIRST)
    assert (seen.parent, seen.workflow) == (parent(FIRST, W1), rerun())
    assert systems.st2.requests["get_execution"] == 1


@pytest.mark.parametrize(
    "owner", [None, parent(SECOND, W1), parent(SECOND, W1, "canceled")], ids=["none", "run", "end"]
)
def test_owner_of_canceled_parents_workflow_is_read(owner: dict[str, Any] | None) -> None:
    executions = [parent(FIRST, W1, "canceled"), *([owner] if owner else [])]
    seen, effect = observed(Systems(*executions, workflows=[rerun()]), FIRST)
    assert seen.owner == owner
    assert isinstance(effect, Cancel) == (owner is not None and owner["status"] == "canceled")


def test_execution_that_claims_a_workflow_does_not_keep_it_running() -> None:
    """Anyone who may create executions in StackStorm writes any context, also that of a re-run."""
    claimant = parent(SECOND, W1)
    claimant["context"]["re-run"] = {"ref": FIRST}
    systems = Systems(parent(FIRST, W1, "canceled"), claimant, workflows=[workflow(W1, FIRST)])
    assert observed(systems, FIRST)[1] == Cancel(W1, f"StackStorm execution {FIRST} is canceled")


def test_workflow_of_execution_that_names_none_is_found() -> None:
    nameless = {"id": FIRST, "status": "canceled", "context": {}}
    seen, effect = observed(Systems(nameless, workflows=[workflow(W1, FIRST)]), FIRST)
    assert seen.workflow
    assert isinstance(effect, Cancel)


def test_unknown_parent_is_none() -> None:
    assert observed(Systems(), FIRST)[0] == Seen(None)


@pytest.mark.parametrize(
    ("status", "state"),
    [("running", "PAUSED"), ("paused", "RUNNING"), ("pausing", "PAUSED"), ("resuming", "RUNNING")],
)
def test_parent_that_disagrees_with_its_workflow_is_reconciled(status: str, state: str) -> None:
    assert compare([parent(FIRST, W1, status)], [workflow(W1, FIRST, state)]).changed == {FIRST}


def test_paused_parent_of_paused_workflow_is_not_reconciled() -> None:
    listing = compare([parent(FIRST, W1, "paused")], [workflow(W1, FIRST, "PAUSED")])
    assert listing.pending == {FIRST: W1}
    assert not listing.changed


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [
        ("running", "paused", {FIRST}),
        ("running", "running", set()),
        ("paused", "paused", set()),
    ],
)
def test_running_parent_of_paused_workflow_below_is_reconciled(
    above: str, below: str, expected: set[str]
) -> None:
    state = {"running": "RUNNING", "paused": "PAUSED"}
    lower = parent(SECOND, W2, below)
    lower["context"]["parent"] = {"execution_id": FIRST}
    workflows = [workflow(W1, FIRST, state[above]), workflow(W2, SECOND, state[below])]
    assert compare([parent(FIRST, W1, above), lower], workflows).changed == expected


@pytest.mark.parametrize(("status", "paused"), [("running", False), ("paused", True)])
def test_paused_workflow_is_found_below_its_parent(status: str, paused: bool) -> None:
    lower = parent(SECOND, W2, status)
    lower["context"]["parent"] = {"execution_id": FIRST}
    chain = child("6b03c160746e6986596007f9", FIRST, "paused")
    systems = Systems(parent(FIRST, W1), chain, lower, workflows=[workflow(W1, FIRST)])
    seen = Seen(parent(FIRST, W1), workflow(W1, FIRST))
    assert observer(systems).look(Look.PAUSED, FIRST, seen).paused_below is paused


@pytest.mark.parametrize("where", [W1, "sub"])
@pytest.mark.parametrize(
    ("status", "active"),
    [("running", True), ("pausing", True), ("paused", False), ("pending", False), (None, True)],
)
def test_what_runs_below_a_workflow_is_active(where: str, status: str | None, active: bool) -> None:
    """Also an action that has no execution yet, or that runs in Mistral only."""
    below = workflow("sub", "", "PAUSED", root_execution_id=W1)
    systems = Systems(parent(FIRST, W1, "pausing"), workflows=[workflow(W1, FIRST, "PAUSED"), below])
    systems.mistral.add_task(task("t", where), task("other", W2))
    systems.mistral.add_action(action("a", "t"), action("b", "other"), action("c", "t", "SUCCESS"))
    if status:
        systems.st2.add(child("c", FIRST, status, action_execution_id="a"))
    seen = Seen(parent(FIRST, W1, "pausing"), workflow(W1, FIRST, "PAUSED"))
    assert observer(systems).look(Look.BELOW, FIRST, seen).active_below is active


def test_workflow_without_running_actions_asks_nothing_of_stackstorm() -> None:
    systems = Systems(workflows=[workflow(W1, FIRST, "PAUSED")])
    seen = Seen(parent(FIRST, W1, "pausing"), workflow(W1, FIRST, "PAUSED"))
    assert observer(systems).look(Look.BELOW, FIRST, seen).active_below is False
    assert not systems.st2.requests
