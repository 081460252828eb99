"""Patience with one item that fails, so that it does not take the place of the others."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

# Seconds after the first failure, doubled by each further one up to the longest.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 300.0


@dataclass(frozen=True)
class Failure:
    """How often an item has failed, and why the last time."""

    times: int
    due: float
    """When it is tried again, by the clock of its :class:`Backoff`."""
    reason: str


class Backoff:
    """Which items have failed, and when each is due again. Safe to share between threads.

    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, Failure] = {}

    def failed(self, item: str, reason: str = "") -> None:
        """Have an item wait, longer each time."""
        with self._lock:
            times = self._failures[item].times if item in self._failures else 0
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(times, 16))
            pause *= random.uniform(0.5, 1)  # noqa: S311 - spreads retries, hides nothing
            self._failures[item] = Failure(times + 1, self._clock() + pause, reason)

    def succeeded(self, item: str) -> None:
        """Forget that it failed."""
        with self._lock:
            self._failures.pop(item, None)

    def is_due(self, item: str) -> bool:
        """Whether an item may be tried now."""
        with self._lock:
            return item not in self._failures or self._failures[item].due <= self._clock()

    def keep(self, items: Collection[str]) -> None:
        """Forget all others."""
        with self._lock:
            for item in self._failures.keys() - set(items):
                del self._failures[item]

    def failing(self) -> dict[str, Failure]:
        """All that wait."""
        with self._lock:
            return dict(self._failures)

    def next_due(self) -> float:
        """Seconds until the first that waits is due, 0 where one is; infinite where none waits."""
        with self._lock:
            dues = [failure.due for failure in self._failures.values()]
        return max(0.0, min(dues) - self._clock()) if dues else float("inf")
