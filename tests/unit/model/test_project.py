"""The records of Mistral that the relay may write to."""

from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.model.project import Foreign, Scope, foreign, project_of

OWN = Scope("own")


@pytest.mark.parametrize("row", [{"project_id": "own"}, {"project_id": "other"}, {}])
def test_foreign_is_none_without_authentication(row: dict[str, Any]) -> None:
    assert foreign(row, None) is None


def test_foreign_is_none_for_the_tokens_project() -> None:
    assert foreign({"project_id": "own"}, OWN) is None


@pytest.mark.parametrize("project", ["other", "OWN", "own ", "<default-project>"])
def test_record_of_another_project_is_foreign(project: str) -> None:
    assert foreign({"project_id": project}, OWN) == Foreign(project, OWN)


@pytest.mark.parametrize("row", [{}, {"project_id": None}, {"project_id": ""}, {"project_id": ["own"]}])
@pytest.mark.parametrize("scope", [OWN, Scope(None), Scope("")])
def test_record_without_a_project_is_foreign(row: dict[str, Any], scope: Scope) -> None:
    assert foreign(row, scope) == Foreign(None, scope)


@pytest.mark.parametrize("project", ["own", None, ""])
def test_every_record_is_foreign_to_a_token_without_a_project(project: str | None) -> None:
    assert foreign({"project_id": project}, Scope(None)) is not None


def test_reason_names_both_projects() -> None:
    reason = "it belongs to project 'other', and the relay's token is for project 'own'"
    assert Foreign("other", OWN).reason == reason
    reason = "it belongs to an unknown project, and the relay's token has no project"
    assert Foreign(None, Scope(None)).reason == reason


def test_reason_has_one_line_of_bounded_length() -> None:
    """The project's id comes from a response of Mistral."""
    reason = Foreign("x\n" * 1000, OWN).reason
    assert "\n" not in reason
    assert len(reason) < 200


@pytest.mark.parametrize(
    ("project", "expected"),
    [("own", "own"), ("<default-project>", None), ("", None), (None, None), (["own"], None)],
)
def test_project_of_a_record(project: Any, expected: str | None) -> None:
    assert project_of({"project_id": project}) == expected
    assert project_of({}) is None
