"""The relay does nothing for actions of other projects."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from st2actions_mistral.model.project import Foreign, Scope
from st2actions_mistral.relay import reconcile
from st2actions_mistral.relay.foreign import ForeignProjects

OWN = Scope("own")
OTHER = Foreign("other", OWN)
RULES = reconcile.Rules("here", 1024, reschedule_after=120, lost_after=600, cancel_orphans=True)


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
