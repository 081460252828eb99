"""Threads that reconcile the keys of a work queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from st2actions_mistral.bridge.rejection import may_be_for_body
from st2actions_mistral.errors import RemoteError, St2MistralError
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.workqueue import WorkQueue

LOG: Final = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


class Workers(Generic[K]):
    """Take one key after the other and reconcile it. A key that fails is due again after its backoff.

    :param name: of the threads.
    :param count: threads that :meth:`start` starts.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        reconcile: Callable[[K], object],
        *,
        name: str,
        count: int,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._metrics = metrics
        self._threads = [
            threading.Thread(target=self.work, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Start the threads, which run until :meth:`close`."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Finish what was begun, and drop everything else. The next relay resyncs."""
        self._queue.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def work(self, timeout: float | None = None) -> None:
        """Reconcile keys in this thread until :meth:`close`.

        :param timeout: return if no key is due for so many seconds.
        """
        while (key := self._queue.take(timeout)) is not None:
            try:
                self._reconcile(key)
                self._queue.forget(key)
            except St2MistralError as error:
                LOG.warning("%s is retried later: %s", key, error.log_text())
                rejected = isinstance(error, RemoteError) and may_be_for_body(error)
                self._retry(key, error.log_text(), rejected=rejected)
            except Exception as error:
                # Nothing would start this thread again.
                LOG.exception("%s cannot be reconciled; it is retried later.", key)
                self._retry(key, type(error).__name__)
            finally:
                self._queue.done(key)

    def _retry(self, key: K, reason: str, *, rejected: bool = False) -> None:
        self._metrics.retries.inc()
        self._queue.add_backoff(key, reason, rejected=rejected)
