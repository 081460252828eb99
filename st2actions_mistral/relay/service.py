"""The relay as a daemon: its threads and its signals."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.relay.delivery import Delivery
from st2actions_mistral.relay.loop import Children, Sweeper, Watcher

LOG: Final = logging.getLogger(__name__)

# Seconds after a sweep that failed. The clients have waited up to retry_deadline before that.
_PAUSE_AFTER_FAILURE: Final = 5.0


class Relay:
    """Brings results back until it is stopped. It keeps nothing that it could not find again."""

    def __init__(self, st2: St2Settings, mistral: MistralSettings, settings: RelaySettings) -> None:
        self._stop = threading.Event()
        self._sweep_now = threading.Event()
        self._st2 = St2Client(st2, stop=self._stop)
        self._mistral = MistralClient(mistral, stop=self._stop)
        self._settings = settings
        children = Children()
        self._delivery = Delivery(self._st2, self._mistral, settings)
        self._sweeper = Sweeper(self._st2, self._mistral, self._delivery, children, settings)
        self._watcher = Watcher(
            st2, self._delivery, children, settings, sweep_now=self._sweep_now, stop=self._stop
        )

    def run(self) -> None:
        """Work until :meth:`stop`, then finish what is in flight."""
        watching = threading.Thread(target=self._watcher.run, name="watch", daemon=True)
        watching.start()
        try:
            while not self._stop.is_set():
                self._sweep_now.clear()
                pause = self._sweep()
                self._sweep_now.wait(pause)
        finally:
            self._stop.set()
            self._watcher.end()
            watching.join(timeout=5)
            self._delivery.close()
            self._st2.close()
            self._mistral.close()

    def stop(self) -> None:
        """Have :meth:`run` return soon. May be called from a signal handler."""
        self._stop.set()
        self._sweep_now.set()

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def _sweep(self) -> float:
        """Sweep once; the seconds until the next time."""
        begun = time.monotonic()
        try:
            waiting = self._sweeper.sweep()
        except St2MistralError as error:
            if not self._stop.is_set():
                LOG.warning("%s Comparing again in %.0f s.", error, _PAUSE_AFTER_FAILURE)
            return _PAUSE_AFTER_FAILURE
        LOG.debug("%d actions wait (%.2f s to compare).", waiting, time.monotonic() - begun)
        return self._settings.reconcile_interval


def run_until_signalled(relay: Relay) -> None:
    """Run a relay in the main thread of a process.

    The first SIGTERM or SIGINT lets it finish what is in flight, a second one ends the process at
    once, with exit status 1.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        if relay.stopping:
            os._exit(1)
        relay.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    relay.run()
