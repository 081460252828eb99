"""``st2-mistral relay``: the errors that end it before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.breaking_servers import refusing
from support.logging_state import logging_as_before

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    with logging_as_before():
        yield


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("workers = 0", "[st2_relay] workers"),
        ("reschedule_after = 20\nlost_after = 10", "[st2_relay] lost_after (10)"),
        ("health_port = 70000", "[st2_relay] health_port"),
    ],
)
def test_invalid_option_ends_it(run: Run, more: str, named: str) -> None:
    with refusing() as closed:
        status, printed, error = run("relay", st2=closed, mistral=closed, more=more)
    assert (status, printed) == (1, "")
    assert named in error


def test_log_that_cannot_be_written_ends_it(run: Run) -> None:
    with refusing() as closed:
        more = "[DEFAULT]\nlog_dir = /nowhere"
        status, printed, error = run("relay", st2=closed, mistral=closed, more=more)
    assert (status, printed) == (1, "")
    assert "The logging options of [DEFAULT] cannot be used" in error
    assert "/nowhere" in error
