"""Who is looked at soon, and when."""

from __future__ import annotations

import threading
import time

from st2actions_mistral.relay.lookout import Lookout


class Clock:
    """Stands still, but for what a test adds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def due(lookout: Lookout) -> list[str]:
    """What is due now."""
    found: list[str] = []

    def collect() -> None:
        while (item := lookout.take()) is not None:
            found.append(item)

    thread = threading.Thread(target=collect)
    thread.start()
    time.sleep(0.05)
    lookout.close()
    thread.join(10)
    lookout._closed = False
    return found


def test_the_pauses_double_until_the_sweeps_take_over() -> None:
    clock = Clock()
    lookout = Lookout(5, clock)
    lookout.soon("a")
    for pause in (0.3, 0.6, 1.2, 2.4, 4.8):
        clock.now += pause - 0.01
        assert due(lookout) == []
        clock.now += 0.01 + 1e-6
        assert due(lookout) == ["a"]
        lookout.later("a")
    clock.now += 1000
    assert due(lookout) == []


def test_news_begin_anew_and_count_once() -> None:
    clock = Clock()
    lookout = Lookout(30, clock)
    for _ in range(3):
        lookout.soon("a")
        clock.now += 0.2
    clock.now += 0.15
    assert due(lookout) == ["a"]
    clock.now += 100
    assert due(lookout) == []


def test_what_was_stirred_meanwhile_is_not_put_off() -> None:
    clock = Clock()
    lookout = Lookout(30, clock)
    lookout.soon("a")
    clock.now += 0.31
    assert due(lookout) == ["a"]
    lookout.soon("a")
    lookout.later("a")
    clock.now += 0.31
    assert due(lookout) == ["a"]


def test_what_is_forgotten_does_not_come_back() -> None:
    clock = Clock()
    lookout = Lookout(30, clock)
    lookout.soon("a")
    lookout.soon("b")
    lookout.forget("a")
    lookout.later("a")
    clock.now += 1
    assert due(lookout) == ["b"]


def test_the_first_due_is_the_first_taken_and_others_do_not_wait() -> None:
    clock = Clock()
    lookout = Lookout(30, clock)
    lookout.after("late", 60)
    lookout.soon("early")
    clock.now += 61
    assert due(lookout) == ["early", "late"]


def test_there_is_a_bound() -> None:
    clock = Clock()
    lookout = Lookout(30, clock)
    for number in range(2500):
        lookout.soon(f"{number}")
    clock.now += 1
    found = due(lookout)
    assert len(found) == 2000


def test_waiting_ends_when_something_comes() -> None:
    lookout = Lookout(30)
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(lookout.take()))
    thread.start()
    lookout.after("a", 0)
    thread.join(10)
    assert found == ["a"]
