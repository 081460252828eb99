"""Hand the events of Mistral to threads, so that Mistral waits for nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.workqueue import WorkQueue

LOG: Final = logging.getLogger(__name__)

# Seconds between two warnings that events were dropped.
_WARN_EVERY: Final = 60.0


class Drops:
    """Counts what is dropped, and logs it now and then. Safe to share between threads.

    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since_warning = 0
        self._warned_at: float | None = None
        self.total = 0
        """All that was dropped so far."""

    def count(self, what: str, limit: int) -> None:
        """Count one.

        :param what: what was dropped, in the plural, and what follows from that.
        :param limit: how many wait already.
        """
        with self._lock:
            self.total += 1
            self._since_warning += 1
            now = self._clock()
            if self._warned_at is not None and now - self._warned_at < _WARN_EVERY:
                return
            number, self._since_warning, self._warned_at = self._since_warning, 0, now
        LOG.warning(
            "The notifier has dropped %d %s. %d wait already ([st2_notifier] queue_size).",
            number,
            what,
            limit,
        )


class Workers:
    """Threads that handle the keys of a work queue, one key by one thread at a time.

    :param handle: returns the seconds after which it is to be called again for the key, or None.
    :param on_error: called with the key and an error of the package that ``handle`` raised.
    :param name: of the threads.
    """

    def __init__(
        self,
        queue: WorkQueue[str],
        handle: Callable[[str], float | None],
        *,
        on_error: Callable[[str, St2MistralError], object],
        name: str,
        count: int,
    ) -> None:
        self._queue = queue
        self._handle = handle
        self._on_error = on_error
        # Daemons: they must not keep a process of Mistral alive.
        self._threads = [
            threading.Thread(target=self.work, name=f"st2-notifier-{name}-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Start the threads, which run until :meth:`close`."""
        for thread in self._threads:
            thread.start()

    def work(self, timeout: float | None = None) -> None:
        """Handle keys in this thread until :meth:`close`.

        :param timeout: return if no key is due for so many seconds.
        """
        while (key := self._queue.take(timeout)) is not None:
            again = None
            error: St2MistralError | None = None
            try:
                again = self._handle(key)
            except St2MistralError as failed:
                error = failed
            except Exception:
                # Nothing would start this thread again.
                LOG.exception("The notifier failed at workflow execution %s.", key)
            finally:
                self._queue.done(key)
            # Not inside "except": oslo.log would add the full text of the error.
            if error is not None:
                self._on_error(key, error)
            if again is not None:
                self._queue.add_after(key, again)

    def close(self, seconds: float) -> None:
        """Hand out no more keys, and wait for what has begun.

        :param seconds: to wait at most.
        """
        self._queue.close()
        until = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))
