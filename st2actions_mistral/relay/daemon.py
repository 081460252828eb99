"""The relay as a daemon: its parts, its threads and its signals.

::

    event sources ──► controllers: work queue ► observe ► decide ► apply
    resync loop   ──►

Sources and resyncs only add keys to the controllers' work queues. What is done about a key is decided
in ``actions.decide`` and ``parents.decide``, nowhere else.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Mapping
from typing import Final

from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.client.auth import MistralCredential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.settings import MistralSettings, St2Settings, cap_deadline
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.model import project
from st2actions_mistral.relay.actions.controller import ActionController
from st2actions_mistral.relay.actions.observe import ParseRequest
from st2actions_mistral.relay.health import HealthServer
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.no_access import ClosedProjects
from st2actions_mistral.relay.parents.controller import ParentController
from st2actions_mistral.relay.resync_loop import ResyncLoop
from st2actions_mistral.relay.systemd import Notifier
from st2actions_mistral.relay.watch import EventListener, EventSource, StreamSource
from st2actions_mistral.workqueue import Failure

LOG: Final = logging.getLogger(__name__)

# Seconds over all attempts of one call, enough for a gateway that asks to come back in a moment. The
# work queue retries the rest with a backoff. A call that is retried for a minute would keep a worker
# from other work.
_RETRY_DEADLINE: Final = 5.0

# Seconds to wait for an event source to end.
_SOURCE_ENDS_IN: Final = 5.0


class Relay:
    """Runs both controllers until it is stopped. It keeps nothing that a resync cannot find again.

    :param parse_request: how the inputs of a lost action are read, see ``bridge.request``.
    :param credential: the relay's identity in Mistral; None where Mistral has no authentication.
    """

    def __init__(
        self,
        st2: St2Settings,
        mistral: MistralSettings,
        settings: RelaySettings,
        *,
        parse_request: ParseRequest,
        credential: MistralCredential | None = None,
    ) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._resync = threading.Event()
        self._notifier = Notifier()
        self._st2 = St2Client(cap_deadline(st2, _RETRY_DEADLINE), stop=self._stop)
        self._mistral = MistralClient(
            cap_deadline(mistral, _RETRY_DEADLINE), credential=credential, stop=self._stop
        )
        clients = ProjectClients(
            self._mistral,
            trusts=settings.project_auth == project.TRUST,
            # The next resync must notice that an operator has given the missing role.
            remember=settings.resync_interval / 2,
        )
        self._metrics = Metrics()
        self._projects = ClosedProjects()
        hints = Hints()
        self._parents = ParentController(
            self._st2,
            clients,
            settings,
            metrics=self._metrics,
            projects=self._projects,
            hints=hints,
            resync=self._resync,
            heartbeat=self._notifier.alive,
        )
        self._actions = ActionController(
            self._st2,
            clients,
            settings,
            parse_request=parse_request,
            metrics=self._metrics,
            resync=self._resync,
            parents=self._parents,
            projects=self._projects,
            hints=hints,
            heartbeat=self._notifier.alive,
        )
        listeners: list[EventListener] = [self._parents, self._actions]
        self._sources: list[EventSource] = [StreamSource(st2, listeners, resync=self._resync)]
        self._loop = ResyncLoop(
            self._actions,
            self._parents,
            metrics=self._metrics,
            notifier=self._notifier,
            requested=self._resync,
            stop=self._stop,
            interval=settings.resync_interval,
        )
        # A system that has not responded for longer than this counts as unreachable.
        self._stale = settings.resync_interval + 2 * max(
            st2.timeouts.read_timeout, mistral.timeouts.read_timeout
        )

    def run(self) -> None:
        """Work until :meth:`stop`, then finish what is in flight."""
        health = self._start_health_server()
        threads = [
            threading.Thread(target=source.run, name="events", daemon=True) for source in self._sources
        ]
        for thread in threads:
            thread.start()
        self._actions.workers.start()
        self._parents.workers.start()
        try:
            self._loop.run()
        finally:
            self._stop.set()
            self._notifier.stopping()
            for source in self._sources:
                source.close()
            for thread in threads:
                thread.join(_SOURCE_ENDS_IN)
            self._actions.workers.close()
            self._parents.workers.close()
            self._st2.close()
            self._mistral.close()
            if health is not None:
                health.close()

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._stop.set()
        self._resync.set()

    def _start_health_server(self) -> HealthServer | None:
        contacts = {"stackstorm": self._last_contact_of_st2, "mistral": self._mistral.last_contact}
        self._metrics.observe(self._actions.lag, contacts, self._projects.count)
        port = self._settings.health_port
        if not port:
            return None
        health = HealthServer(port, self._metrics, contacts, self._stale, self._failing)
        LOG.info("%s/metrics and %s/health show the state of the relay.", health.url, health.url)
        return health

    def _last_contact_of_st2(self) -> float:
        return max(self._st2.last_contact(), *(source.last_contact() for source in self._sources))

    def _failing(self) -> Mapping[str, Failure]:
        return {
            **self._actions.failing(),
            **self._parents.failing(),
            **self._projects.failing(),
        }


def run_until_signalled(relay: Relay) -> None:
    """Run a relay to its end, from the main thread of a process that has no other threads yet.

    The first SIGTERM or SIGINT lets it finish what is in flight. A second one ends the process at once,
    with exit status 1.
    """
    # A signal handler would run in the middle of the main thread's code, and wait for ever for a lock
    # that the main thread holds. So the main thread waits for signals, and another one runs the relay.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    main_thread = threading.get_ident()
    ended = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            relay.run()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)
        finally:
            ended.set()
            signal.pthread_kill(main_thread, signal.SIGTERM)

    threading.Thread(target=work, name="relay", daemon=True).start()
    signalled = False
    while True:
        signal.sigwait(signals)
        if ended.is_set():
            break
        if signalled:
            os._exit(1)
        signalled = True
        relay.stop()
    for error in failures:
        raise error
