"""The limit for unknown credentials."""

from __future__ import annotations

import pytest
from support.clock import Clock

from st2actions_mistral.auth.rate import RateLimit


def test_burst_of_ten_seconds_is_allowed() -> None:
    limit = RateLimit(60, clock=Clock())
    assert [limit.take() for _ in range(10)] == [0] * 10
    assert limit.take() == pytest.approx(1)


def test_average_is_kept() -> None:
    clock = Clock()
    limit = RateLimit(60, clock=clock)
    taken = 0
    for _ in range(600):
        taken += limit.take() == 0
        clock.advance(0.1)
    assert 60 <= taken <= 70


def test_unused_times_are_not_saved_up() -> None:
    clock = Clock()
    limit = RateLimit(6, clock=clock)
    clock.advance(3600)
    assert limit.take() == 0
    assert limit.take() == pytest.approx(10)
