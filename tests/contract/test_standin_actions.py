"""The listing of actions with the parameters of their runners."""

from __future__ import annotations

from typing import Any

import pytest
from support.contract.target import Target

VIEW = "/actions/views/overview"


def overviews(target: Target, query: str) -> Any:
    return target.ask("GET", f"{VIEW}?{query}").json()


def test_overview_has_the_included_attributes_only(target: Target) -> None:
    (row,) = overviews(target, "name=local&include_attributes=ref,description,enabled")
    assert row.keys() == {"id", "ref", "description", "enabled"}
    (row,) = overviews(target, "name=local&include_attributes=parameters")
    assert row.keys() == {"id", "ref", "parameters"}
    # The runner has the timeout, the action makes the command required.
    assert row["parameters"]["timeout"]["default"] == 60
    assert row["parameters"]["cmd"]["required"] is True


def test_overview_has_no_excluded_attributes(target: Target) -> None:
    (whole,) = overviews(target, "name=local")
    (row,) = overviews(target, "name=local&exclude_attributes=parameters,tags")
    assert row.keys() == whole.keys() - {"parameters", "tags"}


def test_overviews_are_filtered_by_name_only(target: Target) -> None:
    everything = target.ask("GET", f"{VIEW}?limit=1").headers["X-Total-Count"]
    assert int(everything) > 1
    for ignored in ("pack=none", "ref=core.local", "runner_type=noop"):
        assert target.ask("GET", f"{VIEW}?limit=1&{ignored}").headers["X-Total-Count"] == everything
    assert [row["ref"] for row in overviews(target, "name=noop")] == ["core.noop"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("include_attributes=nope", "Invalid or unsupported include attribute specified: nope"),
        ("exclude_attributes=nope", "Invalid or unsupported exclude attribute specified: nope"),
        (
            "include_attributes=ref&exclude_attributes=pack",
            "exclude_fields and include_fields arguments are mutually exclusive. "
            "You need to provide either one or another, but not both.",
        ),
    ],
)
def test_overviews_with_invalid_attributes_are_rejected(
    target: Target, query: str, reason: str
) -> None:
    response = target.ask("GET", f"{VIEW}?{query}")
    assert (response.status_code, response.json()) == (400, {"faultstring": reason})
