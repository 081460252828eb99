"""The relay does nothing for actions and workflows of other projects."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from st2actions_mistral.model.project import Foreign, Scope
from st2actions_mistral.model.workflow import WorkflowRef, workflow_execution_id
from st2actions_mistral.relay import parents, reconcile
from st2actions_mistral.relay.foreign import ForeignProjects

OWN = Scope("own")
OTHER = Foreign("other", OWN)
RULES = reconcile.Rules("here", 1024, reschedule_after=120, lost_after=600, cancel_orphans=True)
PARENT = "6b03c160746e6986596007f7"
WORKFLOW = workflow_execution_id(PARENT)


def action(state: str = "RUNNING", **more: Any) -> dict[str, Any]:
    made = "2026-11-23 04:16:07"
    return {"id": "a-1", "name": "st2.action", "state": state, "created_at": made, **more}


def child(status: str) -> dict[str, Any]:
    context = {"mistral": {"site": "here", "action_execution_id": "a-1"}}
    return {"id": "6b0400000000000000000001", "status": status, "context": context, "result": {}}


def decide(row: dict[str, Any], scope: Scope | None, **seen: Any) -> reconcile.Effect:
    return reconcile.settle(reconcile.Seen(row, base="st2.action", scope=scope, **seen), RULES)


# What would be done for an action of the token's project.
WORK: list[tuple[str, dict[str, Any], type]] = [
    ("RUNNING", {"child": child("succeeded")}, reconcile.Complete),
    ("RUNNING", {"age": 300}, reconcile.Adopt),
    ("RUNNING", {"vanished": "x", "age": 700}, reconcile.Complete),
    ("RUNNING", {"place": reconcile.Place("CANCELLED", "CANCELLED")}, reconcile.Complete),
    (
        "RUNNING",
        {"child": child("running"), "place": reconcile.Place("CANCELLED", "RUNNING")},
        reconcile.Cancel,
    ),
    ("ERROR", {"child": child("running")}, reconcile.Cancel),
]


@pytest.mark.parametrize(("state", "seen", "effect"), WORK)
def test_an_action_of_another_project_is_refused(
    state: str, seen: dict[str, Any], effect: type
) -> None:
    own, other = action(state, project_id="own"), action(state, project_id="other")
    assert isinstance(decide(own, OWN, **seen), effect)
    assert isinstance(decide(other, None, **seen), effect)
    assert decide(other, OWN, **seen) == reconcile.Refuse(OTHER)
    assert decide(action(state), OWN, **seen) == reconcile.Refuse(Foreign(None, OWN))
    unscoped = Scope(None)
    assert decide(own, unscoped, **seen) == reconcile.Refuse(Foreign("own", unscoped))


def test_an_action_that_is_not_ours_is_not_reported() -> None:
    other = action(project_id="other")
    seen = reconcile.Seen(other, base="std.noop", child=child("succeeded"), scope=OWN)
    assert isinstance(reconcile.settle(seen, RULES), reconcile.Leave)


def parent(status: str = "running") -> dict[str, Any]:
    context = WorkflowRef("here", WORKFLOW, "n").as_context()
    return {"id": PARENT, "status": status, "context": context}


def workflow(state: str, project: str) -> dict[str, Any]:
    description = f"StackStorm execution {PARENT}"
    return {"id": WORKFLOW, "state": state, "description": description, "project_id": project}


def decide_parent(row: dict[str, Any] | None, status: str, **more: Any) -> parents.Effect:
    found = parent(status)
    return parents.settle(parents.Seen(found, row, owner=found, **more), "here", 600)


def test_a_workflow_of_another_project_is_not_cancelled() -> None:
    own, other = workflow("RUNNING", "own"), workflow("RUNNING", "other")
    assert isinstance(decide_parent(own, "canceled", scope=OWN), parents.Stop)
    assert isinstance(decide_parent(other, "canceled"), parents.Stop)
    refused = parents.Refuse(WORKFLOW, OTHER)
    assert decide_parent(other, "canceled", scope=OWN) == refused


def test_the_end_of_a_workflow_of_another_project_is_told_to_stackstorm() -> None:
    """That writes nothing to Mistral."""
    finish = parents.Finish(PARENT, "succeeded")
    assert decide_parent(workflow("SUCCESS", "other"), "running", scope=OWN) == finish


def test_a_missing_workflow_is_lost_only_where_it_was_seen_before() -> None:
    """Mistral hides those of other projects."""
    lost = decide_parent(None, "running", age=700)
    assert isinstance(lost, parents.Finish)
    assert decide_parent(None, "running", age=700, scope=OWN, was_seen=True) == lost
    refused = parents.Refuse(WORKFLOW, Foreign(None, OWN))
    assert decide_parent(None, "running", age=700, scope=OWN) == refused


def test_each_project_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    projects = ForeignProjects()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            projects.report(OTHER, f"action execution {number}")
        projects.report(Foreign(None, OWN), "action execution 3")
    assert [record.getMessage().partition(". ")[0] for record in caplog.records] == [
        "Nothing is completed, rescheduled or cancelled in project 'other'",
        "Nothing is completed, rescheduled or cancelled in an unknown project",
    ]
    assert "Run one relay per project, as a non-admin of that project." in caplog.text
    failing = projects.failing()
    assert {project: failure.times for project, failure in failing.items()} == {
        "project 'other'": 3,
        "an unknown project": 1,
    }
    assert failing["project 'other'"].reason.startswith("action execution 2: it belongs to project")


def test_the_number_of_reported_projects_is_bounded() -> None:
    projects = ForeignProjects()
    for number in range(2000):
        projects.report(Foreign(str(number), OWN), "action execution x")
    assert len(projects.failing()) == 1000
