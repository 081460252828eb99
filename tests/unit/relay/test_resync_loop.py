"""Test when a resync is full, and what becomes of one that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from st2actions_mistral.errors import OutcomeUnknown
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.resync_loop import ResyncLoop
from st2actions_mistral.relay.systemd import Notifier


class Controllers:
    """Both controllers, each of which counts seven keys."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.requested, self.stop = threading.Event(), threading.Event()
        self.full: list[bool] = []
        self.actions: Callable[[], int] = lambda: 7
        self.parents: Callable[[], int] = lambda: 7

    def loop(self, interval: float = 30) -> ResyncLoop:
        outer = self

        class Actions:
            def resync(self, *, full: bool) -> int:
                outer.full.append(full)
                return outer.actions()

        class Parents:
            def resync(self) -> int:
                return outer.parents()

        return ResyncLoop(
            Actions(),
            Parents(),
            metrics=self.metrics,
            notifier=Notifier(),
            requested=self.requested,
            stop=self.stop,
            interval=interval,
        )

    def gauge(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"st2_relay_{name}")


def test_requested_resync_is_full_and_so_is_the_next_one_if_it_fails() -> None:
    controllers = Controllers()

    def resync() -> int:
        number = len(controllers.full)
        if number == 1:
            controllers.requested.set()
        if number == 2:
            raise OutcomeUnknown("GET", "x", "no")
        if number == 4:
            controllers.stop.set()
            controllers.requested.set()
        return 0

    controllers.actions = resync
    running = threading.Thread(target=controllers.loop(interval=0.01).run)
    running.start()
    running.join(10)
    assert not running.is_alive()
    assert controllers.full == [False, True, True, False]


class RequestedTooLate(threading.Event):
    """Is set at the moment after it was first asked."""

    asked = 0

    def is_set(self) -> bool:
        answer = super().is_set()
        self.asked += 1
        if self.asked == 1:
            self.set()
        return answer


def test_request_is_not_lost_if_it_comes_while_a_resync_begins() -> None:
    controllers = Controllers()
    controllers.requested = RequestedTooLate()

    def resync() -> int:
        if len(controllers.full) == 2:
            controllers.stop.set()
            controllers.requested.set()
        return 0

    controllers.actions = resync
    running = threading.Thread(target=controllers.loop(interval=0.01).run, daemon=True)
    running.start()
    running.join(10)
    assert not running.is_alive()
    assert controllers.full == [False, True]


def fails() -> int:
    raise OutcomeUnknown("GET", "x", "no")


def breaks() -> int:
    return 1 // 0


@pytest.mark.parametrize("failure", [fails, breaks])
@pytest.mark.parametrize("half", ["actions", "parents"])
def test_failure_of_one_controller_does_not_keep_the_other_from_its_resync(
    half: str, failure: Callable[[], int]
) -> None:
    controllers = Controllers()
    setattr(controllers, half, failure)
    assert controllers.loop().resync() == 5
    gauges = {name: controllers.gauge(f"pending_{name}") for name in ("actions", "parents")}
    assert gauges == {"actions": 7, "parents": 7, half: 0}


def test_resync_waits_for_its_interval_after_success() -> None:
    controllers = Controllers()
    assert controllers.loop(interval=42).resync() == 42
    controllers.actions = fails
    assert controllers.loop(interval=2).resync() == 2


def test_same_failure_of_both_controllers_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    controllers = Controllers()
    controllers.actions = controllers.parents = fails
    controllers.loop().resync()
    assert [record.getMessage() for record in caplog.records] == [
        "GET x: no The next resync is in 5 s."
    ]
