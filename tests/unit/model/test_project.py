"""The project of a record, and the reason why the relay may not act there."""

from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.model.project import NoAccess, owner_of, project_of


@pytest.mark.parametrize(
    ("row", "owner"),
    [
        ({"project_id": "a"}, "a"),
        ({"project_id": "<default-project>"}, "<default-project>"),
        ({"project_id": ""}, None),
        ({"project_id": None}, None),
        ({"project_id": ["a"]}, None),
        ({}, None),
    ],
)
def test_owner_of_any_row(row: dict[str, Any], owner: str | None) -> None:
    assert owner_of(row) == owner


def test_texts_name_project_reason_and_remedy() -> None:
    found = NoAccess("other", "it belongs to it", "Give a role.")
    assert (found.project, found.text) == ("project 'other'", "it belongs to it. Give a role.")
    assert NoAccess(None, "x", "y").project == "an unknown project"


def test_project_has_one_line_of_bounded_length() -> None:
    """The project's id comes from a response of Mistral."""
    project = NoAccess("x\n" * 1000, "", "").project
    assert "\n" not in project
    assert len(project) < 100


@pytest.mark.parametrize(
    ("project", "expected"),
    [("own", "own"), ("<default-project>", None), ("", None), (None, None), (["own"], None)],
)
def test_project_of_a_record(project: Any, expected: str | None) -> None:
    assert project_of({"project_id": project}) == expected
    assert project_of({}) is None
