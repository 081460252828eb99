"""Keep values of StackStorm's datastore for a few seconds."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

_SECONDS = 5.0
_KEYS = 1000
_LONGEST = 65_536


class KeyCache:
    """Values of keys by key, user and StackStorm. Threads may share it.

    A workflow with many items reads the same key once for each item, and an engine holds a transaction
    of its database meanwhile.

    :param seconds: how long a value is kept.
    :param keys: how many values are kept. The oldest one goes first.
    :param longest: characters; a longer value is not kept.
    """

    def __init__(
        self,
        seconds: float = _SECONDS,
        keys: int = _KEYS,
        longest: int = _LONGEST,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._keys = keys
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[float, str]] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], str]) -> str:
        """Return the value of a key; ``read`` gets one that is not kept.

        :param key: everything that the value depends on, the user included.
        """
        with self._lock:
            self._forget_old()
            if key in self._values:
                return self._values[key][1]
        # Without the lock: it may take seconds.
        value = read()
        if len(value) <= self._longest:
            with self._lock:
                self._values.pop(key, None)
                self._values[key] = (self._clock() + self._seconds, value)
                while len(self._values) > self._keys:
                    self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._values.clear()

    def __len__(self) -> int:
        with self._lock:
            self._forget_old()
            return len(self._values)

    def _forget_old(self) -> None:
        now = self._clock()
        while self._values:
            key, (until, _) = next(iter(self._values.items()))
            if until > now:
                return
            del self._values[key]
