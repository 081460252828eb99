"""Test the threads of the notifier."""

from __future__ import annotations

import logging
import threading

import pytest
from support.clock import Clock

from st2actions_mistral.errors import OutcomeUnknown, St2MistralError
from st2actions_mistral.notifier.workers import Drops, Workers
from st2actions_mistral.workqueue import WorkQueue


def test_key_is_handled_again_after_the_seconds_that_the_handler_returns(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    handled: list[str] = []

    def handle(key: str) -> float | None:
        handled.append(key)
        return 2 if len(handled) == 1 else None

    workers = Workers(queue, handle, on_error=lambda key, error: None, name="x", count=1)
    queue.add("k")
    workers.work(timeout=0)
    assert handled == ["k"]
    clock.advance(2)
    workers.work(timeout=0)
    workers.work(timeout=0)
    assert handled == ["k", "k"]


def test_error_is_reported_and_the_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    queue: WorkQueue[str] = WorkQueue()
    errors: list[tuple[str, St2MistralError]] = []
    failed = OutcomeUnknown("GET", "x", "no")
    raised = {"remote": failed, "bug": ValueError("oops")}

    def handle(key: str) -> None:
        raise raised[key]

    workers = Workers(
        queue, handle, on_error=lambda key, error: errors.append((key, error)), name="x", count=1
    )
    queue.add("remote")
    queue.add("bug")
    workers.work(timeout=0)
    assert errors == [("remote", failed)]
    assert "The notifier failed at workflow execution bug." in caplog.text
    assert "oops" in caplog.text


def test_close_waits_for_what_has_begun() -> None:
    queue: WorkQueue[str] = WorkQueue()
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def handle(key: str) -> None:
        begun.set()
        release.wait(10)
        ended.set()

    workers = Workers(queue, handle, on_error=lambda key, error: None, name="x", count=2)
    workers.start()
    queue.add("k")
    assert begun.wait(10)
    workers.close(0)
    assert not ended.is_set(), "it waits no longer than it is told"
    release.set()
    workers.close(10)
    assert ended.is_set()
    assert not queue.add("late")


def test_drops_are_counted_and_logged_once_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    drops = Drops(clock)
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        drops.count("events for the trigger", 100)
    assert caplog.messages == [
        "The notifier has dropped 1 events for the trigger. 100 wait already"
        " ([st2_notifier] queue_size)."
    ]
    clock.advance(60)
    drops.count("events for the trigger", 100)
    assert "dropped 5 events" in caplog.messages[1]
    assert drops.total == 6
