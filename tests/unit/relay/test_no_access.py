"""Test that each project in which the relay writes nothing is reported once."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from st2actions_mistral.model.project import NoAccess
from st2actions_mistral.relay.no_access import ClosedProjects

OTHER = NoAccess("other", "it belongs to project 'other'", "Give the user a role.")


def test_each_project_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    projects = ClosedProjects()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            projects.report(OTHER, f"action execution {number}")
        projects.report(replace(OTHER, project_id=None), "action execution 3")
    assert [record.getMessage().partition(". ")[0] for record in caplog.records] == [
        "Nothing is completed, rescheduled or cancelled in project 'other'",
        "Nothing is completed, rescheduled or cancelled in an unknown project",
    ]
    assert "Give the user a role." in caplog.text
    failing = projects.failing()
    assert {project: failure.times for project, failure in failing.items()} == {
        "project 'other'": 3,
        "an unknown project": 1,
    }
    assert failing["project 'other'"].reason.startswith("action execution 2: it belongs to project")


def test_the_number_of_reported_projects_is_bounded() -> None:
    projects = ClosedProjects()
    for number in range(2000):
        projects.report(replace(OTHER, project_id=str(number)), "action execution x")
    assert len(projects.failing()) == 1000


def test_project_is_forgotten_when_nothing_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    projects = ClosedProjects()
    projects.begin_resync()
    projects.report(OTHER, "action execution 1")
    projects.begin_resync()
    assert projects.count() == 1
    projects.report(OTHER, "action execution 1")
    projects.begin_resync()
    assert projects.failing()["project 'other'"].times == 2
    with caplog.at_level(logging.INFO):
        projects.begin_resync()
    assert (projects.count(), projects.failing()) == (0, {})
    assert "Nothing waits any more for access to project 'other'." in caplog.text
