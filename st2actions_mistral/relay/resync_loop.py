"""Resync both controllers: at once, then at an interval and whenever that is requested."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.systemd import Notifier

LOG: Final = logging.getLogger(__name__)

# Seconds after a resync that failed, at most.
_PAUSE_AFTER_FAILURE: Final = 5.0


class Actions(Protocol):
    """The controller of actions."""

    def resync(self, *, full: bool) -> int:
        """Return the number of pending actions."""


class Parents(Protocol):
    """The controller of parents."""

    def resync(self) -> int:
        """Return the number of parents that wait for their workflow."""


class ResyncLoop:
    """Runs in the main thread of the relay, and reports to the service manager.

    :param requested: set by whoever wants a resync.
    :param interval: seconds between two resyncs.
    :param stop: once set, :meth:`run` returns. Set ``requested`` after it.
    """

    def __init__(
        self,
        actions: Actions,
        parents: Parents,
        *,
        metrics: Metrics,
        notifier: Notifier,
        requested: threading.Event,
        stop: threading.Event,
        interval: float,
    ) -> None:
        self._actions = actions
        self._parents = parents
        self._metrics = metrics
        self._notifier = notifier
        self._requested = requested
        self._stop = stop
        self._interval = interval
        self._pause_after_failure = min(_PAUSE_AFTER_FAILURE, interval)
        self._full = False

    def run(self) -> None:
        """Resync until the relay stops."""
        while not self._stop.is_set():
            # A requested resync must be full. If it fails, the next one must be full too.
            if self._requested.is_set():
                self._requested.clear()
                self._full = True
            self._wait(self.resync())

    def resync(self) -> float:
        """Resync once.

        :return: seconds until the next resync.
        """
        begun = time.monotonic()
        reasons: list[str] = []
        actions = self._attempt(lambda: self._actions.resync(full=self._full), reasons)
        if actions is not None:
            self._notifier.alive()
            self._full = False
            self._metrics.pending_actions.set(actions)
        # A failure of one controller must not keep the other one from its resync.
        parents = self._attempt(self._parents.resync, reasons)
        if parents is not None:
            self._metrics.pending_parents.set(parents)
        if actions is None or parents is None:
            if reasons and not self._stop.is_set():
                self._notifier.ready(f"Not connected: {reasons[0]}")
            return self._pause_after_failure
        LOG.debug("%d actions are pending (%.2f s to resync).", actions, time.monotonic() - begun)
        self._notifier.ready(f"{actions} actions are pending.")
        return self._interval

    def _attempt(self, resync: Callable[[], int], reasons: list[str]) -> int | None:
        """Run one half of a resync.

        :param reasons: why the other half failed; a failure of this one is added.
        :return: what it counts; None if it failed.
        """
        pause = self._pause_after_failure
        try:
            return resync()
        except St2MistralError as error:
            reason = error.log_text()
            if reason not in reasons and not self._stop.is_set():
                LOG.warning("%s The next resync is in %.0f s.", reason, pause)
            reasons.append(reason)
        except Exception:
            # Keep running: the next resync may succeed.
            LOG.exception("The resync failed. The next one is in %.0f s.", pause)
        return None

    def _wait(self, pause: float) -> None:
        """Wait until the next resync is due, with the heartbeats that the watchdog wants."""
        due = time.monotonic() + pause
        while True:
            self._notifier.alive()
            left = max(0.0, due - time.monotonic())
            slice_ = min(left, self._notifier.watchdog_interval or left)
            if self._requested.wait(slice_) or left <= slice_:
                return
