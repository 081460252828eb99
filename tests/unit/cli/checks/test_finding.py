from __future__ import annotations

import pytest

from st2actions_mistral.cli.checks.finding import (
    FAILED,
    OK,
    WARNING,
    CheckFailed,
    CheckWarning,
    Finding,
    find,
    skip,
)
from st2actions_mistral.errors import Answered


def test_find_returns_the_observation() -> None:
    assert find("clocks", lambda: "agree") == Finding("clocks", OK, "agree")


@pytest.mark.parametrize(
    "error", [CheckFailed("Start it."), Answered("GET", "http://st2", 401, "Set an API key.")]
)
def test_find_reports_every_error_of_the_package_as_failed(error: Exception) -> None:
    def look() -> str:
        raise error

    assert find("clocks", look) == Finding("clocks", FAILED, str(error))


def test_find_reports_a_warning() -> None:
    def look() -> str:
        raise CheckWarning("Upgrade it.")

    assert find("database", look) == Finding("database", WARNING, "Upgrade it.")


def test_find_hides_no_bug() -> None:
    def look() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        find("clocks", look)


def test_skip_names_what_is_needed() -> None:
    assert skip("clocks", "Mistral").as_dict() == {
        "check": "clocks",
        "result": "skipped",
        "detail": "needs Mistral",
    }
