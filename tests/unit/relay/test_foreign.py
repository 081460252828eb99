"""Test that each project in which the relay writes nothing is reported once."""

from __future__ import annotations

import logging

import pytest

from st2actions_mistral.model.project import Foreign, Scope
from st2actions_mistral.relay.foreign import ForeignProjects

OWN = Scope("own")
OTHER = Foreign("other", OWN)


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
