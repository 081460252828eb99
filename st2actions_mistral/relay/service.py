"""The relay as a daemon: its threads and its signals."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

from st2actions_mistral.client.auth import MistralCredential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, St2Settings, cap_deadline
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.relay import backoff, workqueue
from st2actions_mistral.relay.children import Children
from st2actions_mistral.relay.delivery import Delivery, Requested
from st2actions_mistral.relay.foreign import ForeignProjects
from st2actions_mistral.relay.loop import Sweeper, Watcher
from st2actions_mistral.relay.metrics import Health, Metrics
from st2actions_mistral.relay.parents.controller import ParentController
from st2actions_mistral.relay.systemd import Notifier
from st2actions_mistral.relay.view import View

LOG: Final = logging.getLogger(__name__)

# Seconds after a sweep that failed, at most.
_PAUSE_AFTER_FAILURE: Final = 5.0

# Seconds between two sweeps at least, where single actions are due to be tried again.
_SHORTEST_PAUSE: Final = 1.0

# Seconds over all tries of one call: enough for a gateway that asks to come back in a moment. What
# still fails is tried again by the relay itself, later each time; a call that tried for a minute would
# keep a worker from what can be done.
_ONE_CALL: Final = 5.0


class Relay:
    """Brings results back until it is stopped. It keeps nothing that it could not find again."""

    def __init__(
        self,
        st2: St2Settings,
        mistral: MistralSettings,
        settings: RelaySettings,
        *,
        requested: Requested,
        credential: MistralCredential | None = None,
    ) -> None:
        """
        :param requested: how an action that was lost is read, see ``relay.delivery.Delivery``.
        :param credential: who the relay is in Mistral; None where Mistral does not ask.
        """
        self._stop = threading.Event()
        self._sweep_now = threading.Event()
        self._everything = False
        self._notifier = Notifier()
        self._st2 = St2Client(cap_deadline(st2, _ONE_CALL), stop=self._stop)
        self._mistral = MistralClient(
            cap_deadline(mistral, _ONE_CALL), credential=credential, stop=self._stop
        )
        self._settings = settings
        self._pause_after_failure = min(_PAUSE_AFTER_FAILURE, settings.resync_interval)
        self._silence = 2 * max(st2.timeouts.read_timeout, mistral.timeouts.read_timeout)
        children = Children()
        self._projects = ForeignProjects()
        view = View(
            self._st2,
            self._mistral,
            settings.site,
            alive=self._notifier.alive,
            projects=self._projects,
        )
        self.metrics = Metrics()
        self._parents = ParentController(
            self._st2,
            self._mistral,
            settings,
            metrics=self.metrics,
            projects=self._projects,
            resync=self._sweep_now,
            heartbeat=self._notifier.alive,
        )
        self._delivery = Delivery(
            self._st2,
            self._mistral,
            settings,
            view,
            children,
            requested=requested,
            metrics=self.metrics,
            projects=self._projects,
            room=self._sweep_now.set,
            delivered=self._parents.on_child_completed,
        )
        self._sweeper = Sweeper(
            self._st2,
            self._mistral,
            view,
            self._delivery,
            children,
            settings,
            alive=self._notifier.alive,
        )
        self._watcher = Watcher(
            st2,
            self._delivery,
            children,
            settings,
            sweep_now=self._sweep_now,
            stop=self._stop,
            seen=self._parents.on_execution_event,
        )

    def run(self) -> None:
        """Work until :meth:`stop`, then finish what is in flight."""
        health = self._health()
        watching = threading.Thread(target=self._watcher.run, name="watch", daemon=True)
        watching.start()
        self._parents.start()
        try:
            while not self._stop.is_set():
                # Asked for, a sweep is there to find what the stream may have missed; one that failed
                # has not found it.
                self._everything |= self._sweep_now.is_set()
                self._sweep_now.clear()
                self._wait(self._sweep())
        finally:
            self._stop.set()
            self._notifier.stopping()
            self._watcher.end()
            watching.join(timeout=5)
            self._delivery.close()
            self._parents.close()
            self._st2.close()
            self._mistral.close()
            if health is not None:
                health.close()

    def stop(self) -> None:
        """Have :meth:`run` return soon."""
        self._stop.set()
        self._sweep_now.set()

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def _health(self) -> Health | None:
        contacts = {
            "stackstorm": lambda: max(self._st2.last_contact(), self._watcher.last_contact()),
            "mistral": self._mistral.last_contact,
        }
        self.metrics.watch(self._delivery.lag, contacts)
        port = self._settings.health_port
        if not port:
            return None
        health = Health(
            port,
            self.metrics,
            contacts,
            self._settings.resync_interval + self._silence,
            self._failing,
        )
        LOG.info("%s/metrics and %s/health tell how the relay is.", health.url, health.url)
        return health

    def _failing(self) -> dict[str, backoff.Failure | workqueue.Failure]:
        return {
            **self._delivery.backoff.failing(),
            **self._parents.failing(),
            **self._projects.failing(),
        }

    def _wait(self, pause: float) -> None:
        """Wait until the next sweep is due, and give the signs of life that the watchdog wants."""
        due = time.monotonic() + pause
        while True:
            self._notifier.alive()
            left = max(0.0, due - time.monotonic())
            left = min(left, max(_SHORTEST_PAUSE, self._delivery.backoff.next_due()))
            slice_ = min(left, self._notifier.watchdog_interval or left)
            if self._sweep_now.wait(slice_) or left <= slice_:
                return

    def _sweep(self) -> float:
        """Sweep once; the seconds until the next time."""
        begun = time.monotonic()
        failures: list[str] = []
        waiting = self._compare(lambda: self._sweeper.sweep(everything=self._everything), failures)
        if waiting is not None:
            self._notifier.alive()
        # What keeps actions from being compared need not keep parents from it.
        parents = self._compare(self._parents.resync, failures)
        if waiting is not None:
            self._everything = False
            self.metrics.waiting.set(waiting)
        if parents is not None:
            self.metrics.parents.set(parents)
        if failures and not self._stop.is_set():
            self._notifier.ready(f"Not connected: {failures[0]}")
        if waiting is None or parents is None:
            return self._pause_after_failure
        LOG.debug("%d actions wait (%.2f s to compare).", waiting, time.monotonic() - begun)
        self._notifier.ready(f"{waiting} actions wait for StackStorm.")
        return self._settings.resync_interval

    def _compare(self, sweep: Callable[[], int], failures: list[str]) -> int | None:
        """One half of a comparison: what it counts, None where it failed.

        :param failures: what was told of the other half; this one's is added.
        """
        pause = self._pause_after_failure
        try:
            return sweep()
        except St2MistralError as error:
            if error.log_text() not in failures and not self._stop.is_set():
                LOG.warning("%s Comparing again in %.0f s.", error.log_text(), pause)
            failures.append(error.log_text())
        except Exception:
            # A daemon that ends is no help to the actions that the next sweep may well level.
            LOG.exception("The comparison failed. Comparing again in %.0f s.", pause)
        return None


def run_until_signalled(relay: Relay) -> None:
    """Run a relay to its end; from the main thread of a process, before it has others.

    The first SIGTERM or SIGINT lets it finish what is in flight, a second one ends the process at
    once, with exit status 1.
    """
    # Waited for and not handled: a handler runs in the middle of whatever the main thread does, and
    # would wait for ever for a lock that the main thread holds.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
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
    while True:
        signal.sigwait(ends)
        if ended.is_set():
            break
        if relay.stopping:
            os._exit(1)
        relay.stop()
    for error in failures:
        raise error
