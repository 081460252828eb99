"""Share one answer among everybody who asks the same at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Answers that are kept.
_LIMIT: Final = 2000


@dataclass
class _Slot(Generic[V]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    # The last answer and the last error, each with the time at which it was asked for.
    answer: tuple[float, V] | None = None
    error: tuple[float, Exception] | None = None
    # Calls that wait for this answer.
    sharing: int = 0


class Coalesced(Generic[K, V]):
    """Ask one question at a time for each key. Safe to share between threads.

    Ten threads that ask the same cause one request, or two: those that ask while a request is on its
    way share the next one, because its answer may be older than their question.

    :param ask: answers a question. Its errors are raised for those who share the request, and not kept
        for anybody who asks later. Otherwise all workers would wait for one failing request each, one
        after the other.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        ask: Callable[[K], V],
        *,
        limit: int = _LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: dict[K, _Slot[V]] = {}

    def get(self, key: K, max_age: float = 0) -> V:
        """Return an answer.

        :param max_age: seconds that the answer may be older than this call.
        """
        now = self._clock()
        with self._lock:
            slot = self._slots.pop(key, None) or _Slot()
            if len(self._slots) >= self._limit:
                # The first one was not used for the longest time.
                del self._slots[next(iter(self._slots))]
            self._slots[key] = slot
            slot.sharing += 1
        try:
            with slot.lock:
                return self._answer(key, slot, now, max_age)
        finally:
            with self._lock:
                slot.sharing -= 1
                if not slot.sharing:
                    # Its traceback holds everything that was in use where it was raised.
                    slot.error = None

    def last(self, key: K) -> V | None:
        """Return the last answer for a key, however old; None if there is none."""
        with self._lock:
            slot = self._slots.get(key)
        return slot.answer[1] if slot is not None and slot.answer is not None else None

    def forget(self, key: K) -> None:
        """Forget the answer for a key."""
        with self._lock:
            self._slots.pop(key, None)

    def _answer(self, key: K, slot: _Slot[V], now: float, max_age: float) -> V:
        if slot.answer is not None and slot.answer[0] >= now - max_age:
            return slot.answer[1]
        if slot.error is not None and slot.error[0] > now:
            raise slot.error[1]
        asked = self._clock()
        try:
            answer = self._ask(key)
        except Exception as error:
            # Those who share the request get the same error, whatever it is.
            slot.error = (asked, error)
            raise
        slot.answer = (asked, answer)
        return answer
