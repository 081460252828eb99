"""Limit how often something happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

# Seconds' worth of the limit that may be used at once: many users may come at the same time.
_BURST: Final = 10.0


class RateLimit:
    """A token bucket. Threads may share it.

    :param per_minute: how often on average.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(self, per_minute: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._most = max(1.0, self._per_second * _BURST)
        self._clock = clock
        self._lock = threading.Lock()
        self._left = self._most
        self._at = clock()

    def take(self) -> float:
        """Count one more time if the limit allows it.

        :return: 0 if so; otherwise the seconds after which it does.
        """
        with self._lock:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._at) * self._per_second)
            self._at = now
            if self._left >= 1:
                self._left -= 1
                return 0
            return (1 - self._left) / self._per_second
