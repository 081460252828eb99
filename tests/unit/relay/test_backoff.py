"""Timeouts with one item that fails."""

from __future__ import annotations

import math

import pytest

from st2actions_mistral.relay.backoff import Backoff


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_each_failure_waits_longer_up_to_a_bound_and_others_do_not_wait() -> None:
    clock = Clock()
    backoff = Backoff(clock)
    pauses = []
    for _ in range(14):
        assert backoff.is_due("poisoned")
        backoff.failed("poisoned")
        assert not backoff.is_due("poisoned")
        assert backoff.is_due("other")
        pauses.append(backoff.next_due())
        clock.now += pauses[-1]
    bounds = [min(300.0, 2.0**n) for n in range(14)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))


def test_a_success_starts_anew() -> None:
    backoff = Backoff(Clock())
    for _ in range(5):
        backoff.failed("x")
    backoff.succeeded("x")
    assert backoff.is_due("x")
    assert backoff.next_due() == math.inf
    backoff.failed("x")
    assert backoff.next_due() <= 1


def test_it_tells_how_often_and_why() -> None:
    backoff = Backoff(Clock())
    backoff.failed("x", "first")
    backoff.failed("x", "second")
    assert {item: (f.times, f.reason) for item, f in backoff.failing().items()} == {"x": (2, "second")}


def test_what_is_not_kept_is_forgotten() -> None:
    backoff = Backoff(Clock())
    backoff.failed("x")
    backoff.failed("y")
    backoff.keep({"y"})
    assert (backoff.is_due("x"), backoff.is_due("y")) == (True, False)


def test_what_is_overdue_is_due_now() -> None:
    clock = Clock()
    backoff = Backoff(clock)
    backoff.failed("x")
    clock.now += 100
    assert backoff.next_due() == pytest.approx(0)
