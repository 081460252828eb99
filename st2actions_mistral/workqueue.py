"""Keyed, rate-limited work queue: one worker per key, delayed adds, backoff per key, bounded.

A key names something to reconcile. The queue holds no data about it, so adding a key twice is harmless:
whoever takes the key observes the current state. The model is client-go's ``workqueue``.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# As many pending actions as docs/operate/sizing.md has. 10,000 keys take about 2 MB.
LIMIT: Final = 10_000


def _jitter() -> float:
    return random.uniform(0.5, 1)  # noqa: S311 - spreads retries, hides nothing


@dataclass(frozen=True)
class Backoff:
    """Exponential pauses with jitter.

    :param first: seconds after the first failure; each further failure doubles them.
    :param longest: seconds at most.
    :param jitter: returns a factor in (0, 1] for each pause.
    """

    first: float = 1.0
    longest: float = 300.0
    jitter: Callable[[], float] = _jitter

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after this many failures in a row (at least one)."""
        # The exponent is bounded because 2.0 ** 1024 overflows.
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 32)) * self.jitter()


@dataclass(frozen=True)
class Failure:
    """The state of a key that failed."""

    times: int
    """Failures in a row."""
    reason: str
    """The reason of the last failure."""
    due: float
    """The time of the next retry, by the queue's clock. The key is never taken before."""
    rejections: int = 0
    """Failures in a row that the request itself may have caused; 0 if the last is of another kind."""


NO_FAILURE: Final = Failure(0, "", 0)


class WorkQueue(Generic[K]):
    """Hand out keys to workers. Safe to share between threads.

    Rules:

    - A key that one worker has is given to no other one until :meth:`done`. If it is added in the
      meantime, it is due again after that.
    - A key is due once. Of several adds the earliest counts.
    - A failing key is never due before its backoff has passed, however often it is added.
    - Adds are rejected while ``limit`` keys are due or taken, or ``limit`` keys wait for their time.
      ``on_room`` is called once when half of ``limit`` is free again. Keys whose time comes are never
      dropped, so up to twice ``limit`` keys may be due.

    :param on_room: called without a lock held, in the thread that made room.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        *,
        limit: int = LIMIT,
        on_room: Callable[[], object] = lambda: None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._on_room = on_room
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._changed = threading.Condition()
        # Keys that are due, in their order.
        self._ready: dict[K, None] = {}
        # Keys that a worker has, each with the time at which it is due again, if it is.
        self._taken: dict[K, float | None] = {}
        # Keys with a time in the future.
        self._later: dict[K, float] = {}
        # (due, number, key): the number keeps keys from being compared. An entry that does not agree
        # with _later is outdated.
        self._heap: list[tuple[float, int, K]] = []
        self._number = itertools.count()
        self._failures: dict[K, Failure] = {}
        self._rejected = False
        self._closed = False

    def add(self, key: K) -> bool:
        """Make a key due now.

        :return: False if the queue is full or closed.
        """
        return self.add_after(key, 0)

    def add_after(self, key: K, seconds: float) -> bool:
        """Make a key due in so many seconds, or earlier if it is due earlier already.

        :return: False if the queue is full or closed.
        """
        with self._changed:
            return self._add(key, self._clock() + seconds)

    def add_backoff(self, key: K, reason: str, *, rejected: bool = False) -> bool:
        """Record a failure and make the key due after its backoff, which replaces any earlier time.

        :param reason: shown by :meth:`failing`.
        :param rejected: the failure counts in :attr:`Failure.rejections`.
        :return: False if the queue is full or closed. Then the failure is not recorded either.
        """
        with self._changed:
            known = self._failures.pop(key, NO_FAILURE)
            times = known.times + 1
            due = self._clock() + self._backoff.pause(times)
            self._drop(key)
            if not self._add(key, due):
                return False
            self._failures[key] = Failure(times, reason, due, known.rejections + 1 if rejected else 0)
            return True

    def forget(self, key: K) -> None:
        """Clear the failures of a key. It stays due when it is due."""
        with self._changed:
            self._failures.pop(key, None)

    def discard(self, key: K) -> None:
        """Clear the failures of a key and drop its adds. A worker that has it keeps it."""
        with self._changed:
            self._failures.pop(key, None)
            self._drop(key)
        self._report_room()

    def take(self, timeout: float | None = None) -> K | None:
        """Wait for the next due key, and have it until :meth:`done`.

        :param timeout: seconds to wait at most; None waits until :meth:`close`.
        :return: None if no key became due in time, or the queue is closed.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._closed:
                pause = self._promote()
                if self._ready:
                    key = next(iter(self._ready))
                    del self._ready[key]
                    self._taken[key] = None
                    return key
                if until is not None:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    pause = left if pause is None else min(pause, left)
                self._changed.wait(pause)
            return None

    def done(self, key: K) -> None:
        """Give back a key. If it was added while it was taken, it is due again at that time."""
        with self._changed:
            due = self._taken.pop(key, None)
            if due is not None and not self._add(key, due):
                self._failures.pop(key, None)
        self._report_room()

    def failure(self, key: K) -> Failure:
        """Return the failures of a key: zero of them if it was never added or is forgotten."""
        with self._changed:
            return self._failures.get(key, NO_FAILURE)

    def failing(self) -> dict[K, Failure]:
        """Return all keys that failed and were not forgotten."""
        with self._changed:
            return dict(self._failures)

    def close(self) -> None:
        """Wake all takers and give out no more keys. Keys that are taken may still be finished."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """True after :meth:`close`."""
        with self._changed:
            return self._closed

    def _add(self, key: K, due: float) -> bool:
        if self._closed:
            return False
        self._promote()
        failure = self._failures.get(key)
        if failure is not None:
            due = max(due, failure.due)
        if key in self._taken:
            known = self._taken[key]
            self._taken[key] = due if known is None else min(due, known)
            return True
        if key in self._ready or self._later.get(key, math.inf) <= due:
            return True
        if due > self._clock():
            if key not in self._later and len(self._later) >= self._limit:
                self._rejected = True
                return False
            self._later[key] = due
            heapq.heappush(self._heap, (due, next(self._number), key))
        elif len(self._ready) + len(self._taken) < self._limit:
            self._later.pop(key, None)
            self._ready[key] = None
        else:
            self._rejected = True
            return False
        self._changed.notify()
        return True

    def _promote(self) -> float | None:
        """Make the keys due whose time has come.

        :return: seconds until the next one's time comes; None if none waits.
        """
        if len(self._heap) > 2 * len(self._later) + 64:
            self._heap = [entry for entry in self._heap if self._later.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        while self._heap:
            due, _, key = self._heap[0]
            if self._later.get(key) == due:
                pause = due - self._clock()
                if pause > 0:
                    return pause
                del self._later[key]
                self._ready[key] = None
                self._changed.notify()
            heapq.heappop(self._heap)
        return None

    def _drop(self, key: K) -> None:
        self._ready.pop(key, None)
        self._later.pop(key, None)
        if key in self._taken:
            self._taken[key] = None

    def _report_room(self) -> None:
        with self._changed:
            self._promote()
            most = max(len(self._ready) + len(self._taken), len(self._later))
            room = self._rejected and most <= self._limit // 2
            if room:
                self._rejected = False
        if room:
            self._on_room()
