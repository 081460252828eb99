"""Test the comparison of the parents and workflows of both systems."""

from __future__ import annotations

from typing import Any

import pytest
from support.relay import SITE, Systems, child_of, parent, workflow

from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.bridge.parents.observe import ParentObserver
from st2actions_mistral.errors import Answered
from st2actions_mistral.model.links import workflow_execution_id
from st2actions_mistral.relay.parents.compare import Listing, ParentComparison

FIRST, SECOND = "a" * 24, "b" * 24
W1, W2 = workflow_execution_id(FIRST), workflow_execution_id(SECOND)


def of(
    systems: Systems,
    observer: ParentObserver | None = None,
    hints: Hints | None = None,
    **given: Any,
) -> ParentComparison:
    hints = hints or Hints()
    observer = observer or ParentObserver(systems.st2, systems.clients, SITE, hints=hints)
    return ParentComparison(systems.st2, systems.clients.lister, SITE, observer, hints=hints, **given)


def compare(executions: list[Any], workflows: list[Any]) -> Listing:
    return of(Systems(*executions, workflows=workflows)).compare()


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
    assert of(systems).compare().changed == {FIRST}
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


def test_sub_workflow_without_children_takes_the_trust_of_its_outermost_workflow() -> None:
    below = workflow(W2, root_execution_id=W1, project_id="a")
    systems = Systems(workflows=[workflow(W1, FIRST, "CANCELLED", project_id="a"), below])
    systems.clients.authenticate(trusts={"t": "a"})
    hints = Hints()
    hints.learn_child("x", child_of("x", trust="t", workflow=W1))
    parent_observer = ParentObserver(systems.st2, systems.clients, SITE, hints=hints)
    comparison = of(systems, parent_observer, hints)
    for _ in ("before its project is known", "after"):
        seen = parent_observer.sub_workflow(W2)
        assert (seen.workflow, seen.no_access) == (below, None)
        assert comparison.compare().sub_workflows == {W2}


def test_project_that_rejects_the_token_does_not_end_the_resync_for_others() -> None:
    below = workflow(W2, root_execution_id=W1, project_id="a")
    systems = Systems(parent(FIRST, W1), workflows=[below])
    systems.clients.authenticate("a")

    def reject(_: str) -> None:
        raise Answered("GET", "x", 403, "no")

    systems.clients.access("a").get_execution = reject
    listing = of(systems).compare()
    assert listing.changed == {FIRST}
    # Its worker reports the error.
    assert listing.sub_workflows == {W2}


def test_every_row_of_a_comparison_is_a_heartbeat() -> None:
    beats: list[None] = []
    systems = Systems(parent(FIRST, W1), workflows=[workflow(W1, FIRST)])
    of(systems, heartbeat=lambda: beats.append(None)).compare()
    assert len(beats) >= 2


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
