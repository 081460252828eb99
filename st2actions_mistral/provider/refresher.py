"""Call a function again and again in a background thread."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

LOG: Final = logging.getLogger(__name__)

# Seconds until the next call after a failed one; doubles up to the interval.
_FIRST_PAUSE: Final = 1.0

# The part of the interval by which pauses differ: many engines start at the same moment.
_JITTER: Final = 0.1


class Refresher:
    """A daemon thread that calls a function at an interval.

    :param refresh: returns False if it failed.
    :param interval: seconds.
    """

    def __init__(self, refresh: Callable[[], bool], interval: float) -> None:
        self._refresh = refresh
        self._interval = interval
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def ensure_running(self) -> None:
        """Start the thread, unless it runs in this process. Its first call is at once.

        A fork has no thread of its parent.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="st2-provider", daemon=True
                )
                # It fails if the system has no thread left, or at the end of the process. The next
                # call tries again.
                with suppress(RuntimeError):
                    self._thread.start()

    def stop(self) -> None:
        """End the thread after the call that it makes. Idempotent."""
        self._stop.set()

    def _run(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            failures = 0 if self._succeeds() else failures + 1
            # From 2**30 s on, the interval is shorter in any case.
            pause = _FIRST_PAUSE * 2 ** min(failures - 1, 30) if failures else self._interval
            stop.wait(min(pause, self._interval) * random.uniform(1 - _JITTER, 1))  # noqa: S311

    def _succeeds(self) -> bool:
        try:
            return self._refresh()
        except Exception:
            # Whatever it is, it must not end the thread: the next call may succeed.
            LOG.exception("The actions of StackStorm cannot be refreshed.")
            return False
