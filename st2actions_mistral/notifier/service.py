"""The notifier of one process: its clients and its threads."""

from __future__ import annotations

import threading
from typing import Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.settings import cap_deadline
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config.notifier import NotifierSettings
from st2actions_mistral.model import project
from st2actions_mistral.notifier.events import Event
from st2actions_mistral.notifier.lineage import Lineage
from st2actions_mistral.notifier.parents import ParentNotifier
from st2actions_mistral.notifier.triggers import TriggerNotifier

# Seconds over all attempts of one call about a parent. The relay does what takes longer.
_RETRY_DEADLINE: Final = 2.0

# Seconds that a process waits at its end for requests in flight.
_STOPS_IN: Final = 1.0


class Notifier:
    """Handles the events of Mistral in threads of its own, until :meth:`close`."""

    def __init__(self, settings: NotifierSettings) -> None:
        shared = settings.shared
        self._stop = threading.Event()
        self._st2 = St2Client(cap_deadline(shared.st2, _RETRY_DEADLINE), stop=self._stop)
        self._mistral = MistralClient(
            cap_deadline(shared.mistral, _RETRY_DEADLINE),
            credential=shared.credential,
            stop=self._stop,
        )
        clients = ProjectClients(self._mistral, trusts=shared.relay.project_auth == project.TRUST)
        workers, limit = settings.workers, settings.queue_size
        self._parents = ParentNotifier(self._st2, clients, shared.relay, workers=workers, limit=limit)
        self._parents.workers.start()
        # No relay repeats what fails here, so the options decide how long it is retried.
        self._st2_of_triggers = St2Client(shared.st2, stop=self._stop)
        self._triggers: TriggerNotifier | None = None
        if settings.trigger is not None:
            lineage = Lineage(clients, shared.bridge)
            self._triggers = TriggerNotifier(
                self._st2_of_triggers,
                lineage,
                settings.trigger,
                site=shared.relay.site,
                workers=workers,
                limit=limit,
            )
            self._triggers.workers.start()

    def add(self, event: Event) -> None:
        """Handle an event soon. Never blocks."""
        if event.concerns_parent:
            self._parents.add(event)
        if self._triggers is not None:
            self._triggers.add(event)

    def close(self) -> None:
        """Finish what was begun, for a second at most, and drop everything else."""
        self._stop.set()
        self._parents.workers.close(_STOPS_IN)
        if self._triggers is not None:
            self._triggers.workers.close(_STOPS_IN)
        for client in (self._st2, self._st2_of_triggers, self._mistral):
            client.close()
