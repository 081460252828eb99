"""Test the observation of parents and workflows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.relay import SITE, Systems, action, child, child_of, no_access, parent, task, workflow

from st2actions_mistral.bridge.parents.decide import (
    Cancel,
    Effect,
    Look,
    Rules,
    Seen,
    StateSeen,
    SubWorkflowSeen,
    decide,
)
from st2actions_mistral.bridge.parents.observe import ParentObserver
from st2actions_mistral.model.links import workflow_execution_id

FIRST, SECOND = "a" * 24, "b" * 24
W1, W2 = workflow_execution_id(FIRST), workflow_execution_id(SECOND)


def observer(systems: Systems, **given: Any) -> ParentObserver:
    return ParentObserver(systems.st2, systems.clients, SITE, **given)


def rerun(owner: str = SECOND) -> dict[str, Any]:
    context = {"parent": {"execution_id": owner}}
    params = {"env": {"__actions": {"st2.callback": {"st2_context": context}}}}
    return workflow(W1, FIRST, params=json.dumps(params))


def test_sub_workflow_is_read_with_its_outermost_workflow() -> None:
    below = workflow("sub", root_execution_id=W1)
    parent_observer = observer(Systems(workflows=[workflow(W1, FIRST), below]))
    assert parent_observer.sub_workflow("sub") == SubWorkflowSeen(below, workflow(W1, FIRST))
    assert parent_observer.sub_workflow(W1) == SubWorkflowSeen(workflow(W1, FIRST), None)
    assert parent_observer.sub_workflow("gone") == SubWorkflowSeen(None, None)


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


def trusting(*children: dict[str, Any], old: bool = True) -> Systems:
    """Return systems in which the relay may act in the project "a" with the trust "t" only."""
    systems = Systems(parent(FIRST, W1), *children, workflows=[workflow(W1, FIRST, project_id="a")])
    systems.clients.authenticate(trusts={"t": "a", "other": "b"}, old=old)
    return systems


def with_trust(trust: str | None = "t", **given: Any) -> dict[str, Any]:
    return child_of(f"action-{trust}", "succeeded", workflow=W1, trust=trust, **given)


@pytest.mark.parametrize("old", [True, False])
def test_workflow_is_read_with_a_trust_of_its_executions(old: bool) -> None:
    """In Mistral 20 an administrator cannot read its tasks."""
    systems = trusting(with_trust(None), with_trust(), old=old)
    systems.mistral.add_task(task(workflow=W1))
    parent_observer = observer(systems)
    for _ in range(2):
        for seen in (parent_observer.observe(FIRST), parent_observer.observe_workflow(W1)):
            assert seen.no_access is None
            assert seen.client is not None
            assert seen.client.get_task("t")
    assert systems.st2.requests["children_of"] == 1


@pytest.mark.parametrize(
    "children",
    [
        [],
        [with_trust(None, key="right")],
        [with_trust("other", key="right")],
        [with_trust()],
        [with_trust(key="wrong")],
    ],
    ids=["none", "without", "of another project", "unsigned", "signed with another key"],
)
def test_other_executions_give_no_access(children: list[dict[str, Any]]) -> None:
    seen = observer(trusting(*children), keys=("right",)).observe_workflow(W1)
    assert seen.no_access == no_access("a")
    assert seen.workflow is not None


def test_no_trust_is_looked_for_where_a_role_suffices_or_trusts_are_not_used() -> None:
    with_role, without_trusts = trusting(with_trust()), trusting(with_trust())
    with_role.clients.authenticate("a", old=True)
    without_trusts.clients.uses_trusts = False
    for systems in (with_role, without_trusts):
        assert observer(systems).observe_workflow(W1).workflow is not None
        assert "children_of" not in systems.st2.requests
