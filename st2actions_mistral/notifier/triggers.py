"""Create an instance of a trigger in StackStorm for each event of Mistral."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Final

from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.notifier.events import Event
from st2actions_mistral.notifier.lineage import Lineage
from st2actions_mistral.notifier.workers import Drops, Workers
from st2actions_mistral.workqueue import WorkQueue

LOG: Final = logging.getLogger(__name__)


class TriggerNotifier:
    """Sends events to a trigger, those of one workflow in the order in which they came.

    An event is sent at most once: StackStorm does not recognize one that is sent again.

    :param trigger: ``pack.name``.
    :param limit: events that may wait.
    """

    def __init__(
        self,
        st2: St2Client,
        lineage: Lineage,
        trigger: str,
        *,
        site: str,
        workers: int,
        limit: int,
    ) -> None:
        self._st2 = st2
        self._lineage = lineage
        self._trigger = trigger
        self._site = site
        self._limit = limit
        self._lock = threading.Lock()
        self._events: dict[str, deque[Event]] = {}
        self._waiting = 0
        # A key without an event may be with each worker.
        self._queue: WorkQueue[str] = WorkQueue(limit=limit + workers)
        self.drops: Final = Drops()
        self.workers: Final = Workers(
            self._queue, self._handle, on_error=self._report, name="triggers", count=workers
        )

    def add(self, event: Event) -> None:
        """Send an event as soon as a worker is free. Never blocks."""
        id_ = event.workflow_execution_id
        with self._lock:
            full = self._waiting >= self._limit
            if not full:
                self._events.setdefault(id_, deque()).append(event)
                self._waiting += 1
        if full:
            self.drops.count("events for the trigger", self._limit)
        else:
            self._queue.add(id_)

    def _handle(self, workflow_id: str) -> float | None:
        with self._lock:
            events = self._events.get(workflow_id)
            if not events:
                return None
            event = events.popleft()
            self._waiting -= 1
            if not events:
                del self._events[workflow_id]
        try:
            root, parent = self._lineage.of(event)
            self._st2.dispatch_trigger(
                self._trigger,
                event.payload(self._site, root_execution_id=root, parent_execution_id=parent),
            )
        finally:
            with self._lock:
                more = workflow_id in self._events
            if more:
                # Behind the other workflows.
                self._queue.add(workflow_id)
        return None

    def _report(self, workflow_id: str, error: St2MistralError) -> None:
        LOG.warning(
            "An event of workflow execution %s has not reached the trigger %s: %s",
            workflow_id,
            self._trigger,
            error.log_text(),
        )
