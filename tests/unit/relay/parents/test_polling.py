"""Test when workflows are polled."""

from __future__ import annotations

import pytest
from support.clock import Clock

from st2actions_mistral.relay.parents.polling import PollSchedule

PARENT = "p"
LATER = [0.3, 0.99, 3.267, 10.7811]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def polling(clock: Clock) -> PollSchedule:
    return PollSchedule(30, clock)


def pauses(polling: PollSchedule, clock: Clock) -> list[float]:
    """Poll whenever it is due; return the pauses."""
    found = []
    while (left := polling.take(PARENT)) is not None:
        found.append(round(left, 6))
        clock.advance(left + 1e-9)
        assert polling.take(PARENT) == 0
        polling.still_running(PARENT)
    return found


def test_polls_after_last_result_begin_early(polling: PollSchedule, clock: Clock) -> None:
    assert polling.child_completed(PARENT, "c") == 0.012
    assert pauses(polling, clock) == pytest.approx([0.012, 0.055, 0.12, *LATER])


def test_polls_after_event_of_parent_begin_later(polling: PollSchedule, clock: Clock) -> None:
    assert polling.parent_changed(PARENT) == 0.3
    assert pauses(polling, clock) == pytest.approx(LATER)


def test_event_of_parent_does_not_delay_early_poll(polling: PollSchedule) -> None:
    polling.child_completed(PARENT, "c")
    assert polling.parent_changed(PARENT) == pytest.approx(0.012)


def test_poll_is_planned_for_a_time(polling: PollSchedule, clock: Clock) -> None:
    polling.child_completed(PARENT, "c")
    assert polling.later(PARENT, 5) == 5
    assert polling.take(PARENT) == 5
    clock.advance(2)
    assert polling.take(PARENT) == 3
    assert polling.child_completed(PARENT, "c") == 0.012, "something has happened"


def test_first_poll_may_be_later_than_resync(clock: Clock) -> None:
    polling = PollSchedule(0.2, clock)
    assert polling.parent_changed(PARENT) == 0.3
    assert pauses(polling, clock) == [0.3]


def test_result_while_other_child_runs_is_not_urgent(polling: PollSchedule) -> None:
    polling.child_started(PARENT, "a")
    polling.child_started(PARENT, "b")
    assert polling.child_completed(PARENT, "a") == 0.3
    assert polling.child_completed(PARENT, "b") == 0.012


def test_started_child_delays_early_poll(polling: PollSchedule) -> None:
    polling.child_completed(PARENT, "a")
    polling.child_started(PARENT, "b")
    assert polling.take(PARENT) == pytest.approx(0.3)


def test_started_child_causes_no_poll(polling: PollSchedule) -> None:
    polling.child_started(PARENT, "a")
    assert polling.take(PARENT) is None


def test_event_during_poll_restarts_the_pauses(polling: PollSchedule, clock: Clock) -> None:
    polling.parent_changed(PARENT)
    clock.advance(0.31)
    polling.child_completed(PARENT, "c")
    assert polling.still_running(PARENT) == pytest.approx(0.012)


def test_early_polls_get_later_and_come_back(polling: PollSchedule, clock: Clock) -> None:
    def first_pause() -> float:
        pause = polling.child_completed(PARENT, "c")
        clock.advance(pause + 1e-9)
        assert polling.take(PARENT) == 0
        polling.still_running(PARENT)
        return pause

    assert [first_pause() for _ in range(11)] == [0.012] * 11
    pauses = [first_pause() for _ in range(20)]
    assert pauses[:11] == [0.12] * 11
    assert pauses[-1] == 0.3
    clock.advance(1)
    assert first_pause() == 0.12
    clock.advance(10)
    assert first_pause() == 0.012


def test_forgotten_parent_is_not_polled(polling: PollSchedule) -> None:
    polling.child_completed(PARENT, "c")
    polling.forget(PARENT)
    assert polling.take(PARENT) is None
    assert polling.still_running(PARENT) is None


def test_keep_forgets_children_of_other_parents(polling: PollSchedule) -> None:
    for parent in (PARENT, "other"):
        polling.child_started(parent, "a")
        polling.child_started(parent, "b")
    polling.keep([PARENT])
    assert polling.child_completed(PARENT, "a") == 0.3
    assert polling.child_completed("other", "a") == 0.012


def test_child_that_ended_is_expected_to_be_completed_soon(polling: PollSchedule, clock: Clock) -> None:
    polling.child_started(PARENT, "a")
    polling.child_started(PARENT, "b")
    for child in ("a", "b", "unknown"):
        polling.child_ended(PARENT, child)
    assert polling.child_completed(PARENT, "a") == 0.3
    # The result of a duplicate is never completed.
    clock.advance(5)
    polling.child_ended(PARENT, "b")
    polling.child_started(PARENT, "b")
    assert polling.child_completed(PARENT, "a") == 0.012


def test_keep_makes_room_of_overdue_children(clock: Clock) -> None:
    polling = PollSchedule(30, clock, most_children=2)
    polling.child_started(PARENT, "a")
    polling.child_started(PARENT, "b")
    polling.child_ended(PARENT, "b")
    clock.advance(5)
    polling.keep([PARENT])
    polling.child_started(PARENT, "c")
    assert polling.child_completed(PARENT, "a") == 0.3
    assert polling.child_completed(PARENT, "c") == 0.012


def test_forget_children_forgets_those_of_all_parents(clock: Clock) -> None:
    polling = PollSchedule(30, clock, most_children=2)
    polling.child_started(PARENT, "a")
    polling.child_started("other", "a")
    polling.forget_children()
    assert polling.child_completed(PARENT, "b") == 0.012
    polling.child_started(PARENT, "c")
    assert polling.child_completed(PARENT, "b") == 0.3


def test_number_of_remembered_children_is_bounded(clock: Clock) -> None:
    polling = PollSchedule(30, clock, most_children=3)
    for number in range(4):
        polling.child_started(f"{number}", "a")
        polling.child_started(f"{number}", "a")
        polling.child_started(f"{number}", "b")
    assert polling.child_completed("0", "a") == 0.3
    assert polling.child_completed("3", "a") == 0.012
    # There is room again for what was forgotten.
    polling.forget("0")
    polling.child_started("3", "c")
    assert polling.child_completed("3", "a") == 0.3


def test_stopped_parent_is_polled_after_the_next_result(polling: PollSchedule) -> None:
    polling.child_started(PARENT, "a")
    polling.child_completed(PARENT, "b")
    polling.stop(PARENT)
    assert polling.take(PARENT) is None
    assert polling.child_completed(PARENT, "b") == 0.3
    assert polling.child_completed(PARENT, "a") == 0.012
