"""Who is to be looked at soon, and when: soon at first, less and less often, then not at all."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Final

# Seconds until the first look; doubled by each further one. Mistral takes a moment to go on from a
# result to the end of its workflow.
_FIRST_PAUSE: Final = 0.3

# Items that are looked out for. What is above is left to the next sweep.
_MOST: Final = 2000


class Lookout:
    """Items that may have news before the next sweep. Safe to share between threads.

    :param longest: seconds; an item whose pause would be longer is left to the sweeps.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(self, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._clock = clock
        self._changed = threading.Condition()
        self._pauses: dict[str, float] = {}
        self._dues: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._closed = False

    def soon(self, item: str) -> None:
        """Something of the item has happened: begin anew with the shortest pause."""
        self._wait(item, _FIRST_PAUSE)

    def later(self, item: str) -> None:
        """There was no news: wait twice as long, unless it is looked out for no more."""
        with self._changed:
            pause = self._pauses.get(item)
            # What is due already has been stirred meanwhile.
            if pause is None or item in self._dues:
                return
        self._wait(item, 2 * pause)

    def after(self, item: str, seconds: float) -> None:
        """Look in so many seconds."""
        with self._changed:
            self._put(item, min(seconds, self._longest), seconds)

    def forget(self, item: str) -> None:
        """No more news of this one are expected."""
        with self._changed:
            self._pauses.pop(item, None)
            self._dues.pop(item, None)

    def take(self) -> str | None:
        """Wait for the next item that is due; None once closed."""
        with self._changed:
            while not self._closed:
                while self._heap and self._dues.get(self._heap[0][1]) != self._heap[0][0]:
                    # Forgotten, or put off.
                    heapq.heappop(self._heap)
                if not self._heap:
                    self._changed.wait()
                    continue
                due, item = self._heap[0]
                left = due - self._clock()
                if left <= 0:
                    heapq.heappop(self._heap)
                    del self._dues[item]
                    return item
                self._changed.wait(left)
            return None

    def close(self) -> None:
        """Have :meth:`take` return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self, item: str, pause: float) -> None:
        with self._changed:
            if pause > self._longest and pause > _FIRST_PAUSE:
                self._pauses.pop(item, None)
                return
            self._put(item, pause, pause)

    def _put(self, item: str, pause: float, seconds: float) -> None:
        if item not in self._pauses and len(self._pauses) >= _MOST:
            return
        self._pauses[item] = pause
        self._dues[item] = self._clock() + seconds
        heapq.heappush(self._heap, (self._dues[item], item))
        self._changed.notify()
