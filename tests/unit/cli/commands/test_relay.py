"""``st2-mistral relay``: the errors that end it before it starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from support.breaking_servers import refusing

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _level_of_urllib3() -> Iterator[None]:
    """Restore the level, which the command changes."""
    logger = logging.getLogger("urllib3")
    level = logger.level
    yield
    logger.setLevel(level)


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
