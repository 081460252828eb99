"""Test when workflows are looked at."""

from __future__ import annotations

import pytest
from support.clock import Clock

from st2actions_mistral.relay.parents.pace import Pace

PARENT = "p"
LATER = [0.3, 0.99, 3.267, 10.7811]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(30, clock)


def pauses(pace: Pace, clock: Clock) -> list[float]:
    """Look whenever it is due, always in vain."""
    found = []
    while (left := pace.take(PARENT)) is not None:
        found.append(round(left, 6))
        clock.advance(left + 1e-9)
        assert pace.take(PARENT) == 0
        pace.still_running(PARENT)
    return found


def test_looks_after_last_result_begin_early(pace: Pace, clock: Clock) -> None:
    assert pace.child_completed(PARENT, "c") == 0.02
    assert pauses(pace, clock) == pytest.approx([0.02, 0.05, 0.12, *LATER])


def test_looks_after_event_of_parent_begin_later(pace: Pace, clock: Clock) -> None:
    assert pace.changed(PARENT) == 0.3
    assert pauses(pace, clock) == pytest.approx(LATER)


def test_event_of_parent_does_not_delay_early_look(pace: Pace) -> None:
    pace.child_completed(PARENT, "c")
    assert pace.changed(PARENT) == pytest.approx(0.02)


def test_first_look_may_be_later_than_resync(clock: Clock) -> None:
    pace = Pace(0.2, clock)
    assert pace.changed(PARENT) == 0.3
    assert pauses(pace, clock) == [0.3]


def test_result_while_other_child_runs_is_not_urgent(pace: Pace) -> None:
    pace.child_started(PARENT, "a")
    pace.child_started(PARENT, "b")
    assert pace.child_completed(PARENT, "a") == 0.3
    assert pace.child_completed(PARENT, "b") == 0.02


def test_started_child_delays_early_look(pace: Pace) -> None:
    pace.child_completed(PARENT, "a")
    pace.child_started(PARENT, "b")
    assert pace.take(PARENT) == pytest.approx(0.3)


def test_started_child_causes_no_look(pace: Pace) -> None:
    pace.child_started(PARENT, "a")
    assert pace.take(PARENT) is None


def test_news_during_look_begins_anew(pace: Pace, clock: Clock) -> None:
    pace.changed(PARENT)
    clock.advance(0.31)
    pace.child_completed(PARENT, "c")
    assert pace.still_running(PARENT) == pytest.approx(0.02)


def test_early_looks_get_later_and_come_back(pace: Pace, clock: Clock) -> None:
    def first_pause() -> float:
        pause = pace.child_completed(PARENT, "c")
        clock.advance(pause + 1e-9)
        assert pace.take(PARENT) == 0
        pace.still_running(PARENT)
        return pause

    assert [first_pause() for _ in range(11)] == [0.02] * 11
    pauses = [first_pause() for _ in range(20)]
    assert pauses[:11] == [0.12] * 11
    assert pauses[-1] == 0.3
    clock.advance(1)
    assert first_pause() == 0.12
    clock.advance(10)
    assert first_pause() == 0.02


def test_forgotten_parent_is_not_looked_at(pace: Pace) -> None:
    pace.child_completed(PARENT, "c")
    pace.forget(PARENT)
    assert pace.take(PARENT) is None
    assert pace.still_running(PARENT) is None


def test_keep_forgets_children_of_other_parents(pace: Pace) -> None:
    for parent in (PARENT, "other"):
        pace.child_started(parent, "a")
        pace.child_started(parent, "b")
    pace.keep([PARENT])
    assert pace.child_completed(PARENT, "a") == 0.3
    assert pace.child_completed("other", "a") == 0.02


def test_number_of_remembered_children_is_bounded(clock: Clock) -> None:
    pace = Pace(30, clock, most_children=3)
    for number in range(4):
        pace.child_started(f"{number}", "a")
        pace.child_started(f"{number}", "a")
        pace.child_started(f"{number}", "b")
    assert pace.child_completed("0", "a") == 0.3
    assert pace.child_completed("3", "a") == 0.02
    # There is room again for what was forgotten.
    pace.forget("0")
    pace.child_started("3", "c")
    assert pace.child_completed("3", "a") == 0.3


def test_stopped_parent_is_looked_at_with_the_next_news(pace: Pace) -> None:
    pace.child_started(PARENT, "a")
    pace.child_completed(PARENT, "b")
    pace.stop(PARENT)
    assert pace.take(PARENT) is None
    assert pace.child_completed(PARENT, "b") == 0.3
    assert pace.child_completed(PARENT, "a") == 0.02
