"""Finish, pause and resume the parent executions of workflows as soon as Mistral tells.

An event only says which workflow to look at. What is done follows from what both systems have at that
moment, by the same decisions as in the relay. So a late, repeated or lost event does no harm. Nothing
is changed in Mistral.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.bridge.parents.decide import (
    ChangeStatus,
    Effect,
    Finish,
    Look,
    Rules,
    Seen,
    Wait,
    decide,
)
from st2actions_mistral.bridge.parents.observe import ParentObserver
from st2actions_mistral.bridge.parents.write import ParentWriter
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config.load import RelaySettings
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.model.notifications import GIVES_UP_AFTER
from st2actions_mistral.notifier.events import Event
from st2actions_mistral.notifier.workers import Drops, Workers
from st2actions_mistral.workqueue import WorkQueue

LOG: Final = logging.getLogger(__name__)

# Seconds before a workflow is looked at again whose parent was not ready: its runner has not returned,
# or is about to cancel it. Each further pause is half of what has passed since the event.
_FIRST_PAUSE: Final = 0.03


class ParentNotifier:
    """Handles the events that concern parent executions.

    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        st2: St2Client,
        clients: ProjectClients,
        settings: RelaySettings,
        *,
        workers: int,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hints = Hints(limit=10 * limit)
        keys = settings.context_keys
        self._observer = ParentObserver(st2, clients, settings.site, keys=keys, hints=self._hints)
        self._writer = ParentWriter(
            st2, clients.lister, settings.site, keys=keys, layout=settings.result_layout
        )
        # No workflow counts as lost here: that is the relay's to find out.
        self._rules = Rules(settings.site, lost_after=0)
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        # By workflow: the time of the last event that was not handled yet.
        self._since: dict[str, float] = {}
        self._queue: WorkQueue[str] = WorkQueue(limit=limit, clock=clock)
        self.drops: Final = Drops(clock)
        self.workers: Final = Workers(
            self._queue, self._handle, on_error=self._leave_to_relay, name="parents", count=workers
        )

    def add(self, event: Event) -> None:
        """Look at the workflow of an event as soon as a worker is free. Never blocks."""
        id_ = event.workflow_execution_id
        with self._lock:
            self._since[id_] = self._clock()
            if event.project_id is not None:
                self._hints.learn_records([{"id": id_, "project_id": event.project_id}])
            added = self._queue.add(id_)
            if not added:
                del self._since[id_]
        if not added:
            self.drops.count("changes of workflows, which the relay finds", self._limit)

    def _handle(self, workflow_id: str) -> float | None:
        with self._lock:
            since = self._since.pop(workflow_id, None)
        if since is None or self._is_late(workflow_id, since):
            return None
        seen = self._observer.observe_workflow(workflow_id)
        if seen.workflow is None:
            why = seen.no_access.text if seen.no_access else "Mistral does not show it."
            LOG.info("Workflow execution %s is left to the relay: %s", workflow_id, why)
            return None
        effect = decide(seen, self._rules)
        if effect is Look.BELOW:
            assert seen.parent is not None
            seen = self._observer.look(effect, seen.parent["id"], seen)
            effect = decide(seen, self._rules)
        if not self._apply(effect, seen, since):
            return None
        with self._lock:
            # Unless a newer event has come.
            self._since.setdefault(workflow_id, since)
        return max(_FIRST_PAUSE, (self._clock() - since) / 2)

    def _apply(self, effect: Effect, seen: Seen, since: float) -> bool:
        """Do what concerns StackStorm only; the rest is the relay's.

        :return: True to look again soon.
        """
        assert seen.workflow is not None
        if isinstance(effect, Finish):
            report = self._writer.report(effect, seen)
            # For a large workflow the report takes some time.
            if self._is_late(seen.workflow["id"], since):
                return False
            return self._writer.finish(effect, report) == states.ST2_CANCELING
        if isinstance(effect, ChangeStatus):
            # A pausing parent is to be paused, if nothing runs below it.
            return self._writer.change_status(effect) == states.ST2_PAUSING
        if isinstance(effect, Wait):
            LOG.debug("Workflow execution %s: %s.", seen.workflow["id"], effect.reason)
            return effect.again and seen.workflow["state"] in states.MISTRAL_FINAL
        return False

    def _is_late(self, workflow_id: str, since: float) -> bool:
        """Return True if the relay may finish the parent at the same moment."""
        age = self._clock() - since
        if age < GIVES_UP_AFTER:
            return False
        LOG.info("Workflow execution %s is left to the relay after %.1f s.", workflow_id, age)
        return True

    def _leave_to_relay(self, workflow_id: str, error: St2MistralError) -> None:
        LOG.warning("Workflow execution %s is left to the relay: %s", workflow_id, error.log_text())
