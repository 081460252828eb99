"""List, then watch: sweeps that compare both systems, and the event stream in between."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from st2actions_mistral.client.auth import sentence
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.client.stream import EventStream
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.relay import reconcile
from st2actions_mistral.relay.children import Children
from st2actions_mistral.relay.delivery import Delivery
from st2actions_mistral.relay.view import View, alively

LOG: Final = logging.getLogger(__name__)

# Seconds between two tries to open the stream. A stream that ends at once (nginx in front of a dead
# stream service answers 200 and nothing) counts as a failure too.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


class Sweeper:
    """Compares what Mistral waits for with what StackStorm has."""

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        view: View,
        delivery: Delivery,
        children: Children,
        settings: RelaySettings,
        *,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """:param alive: called now and then during a sweep, which may take long."""
        self._st2 = st2
        self._mistral = mistral
        self._view = view
        self._alive = alive
        self._delivery = delivery
        self._children = children
        self._settings = settings

    def sweep(self, *, everything: bool = True) -> int:
        """Have looked at what RUNNING actions wait for, and at what nobody waits for any more.

        :param everything: list the children of all actions, which finds those that were doubled, and
            those of actions that wait no more; else of those only of which no child is known.
        :return: how many actions wait.
        :raises RemoteError: one of the two systems does not answer. Then nothing is concluded from what
            was not seen.
        """
        stretch = self._children.stretch()
        before = self._children.snapshot()
        waiting = self._view.waiting()
        left = self._children.keep(waiting, before)
        self._delivery.keep(waiting.keys() | left)
        for action, child in left.items():
            # Completed by another relay; or given up: deleted, closed by an operator, or by a relay
            # before an executor got to it.
            self._delivery.offer(action, child.execution_id, waited=child.waited)
        if not waiting:
            if everything:
                self._find({}, everything=True)
                self._children.compared(stretch)
            return 0
        self._alive()
        given_up = self._view.given_up(waiting.values())
        self._alive()
        known = {a: c for a, c in self._children.snapshot().items() if a in waiting}
        childless = {id_: action for id_, action in waiting.items() if id_ not in known}
        if childless or everything:
            known |= self._find(waiting if everything else childless, everything=everything)
            if everything:
                self._children.compared(stretch)
            self._alive()
        self._look_at(known, given_up)
        self._look_at_childless({a: waiting[a] for a in waiting.keys() - known.keys()}, given_up)
        return len(waiting)

    def _find(self, wanted: Mapping[str, Any], *, everything: bool) -> dict[str, str]:
        """The children of these actions, as StackStorm lists them."""
        listed = self._view.children(wanted, others=everything)
        for action, child in listed.first.items():
            self._children.listed(action, child["id"])
        for action, execution in listed.others.items():
            # The next sweep tells whether somebody waits for them.
            self._children.note(action, execution)
        for action in listed.doubled:
            self._delivery.offer_surplus(action)
        return {action: child["id"] for action, child in listed.first.items()}

    def _look_at(self, known: Mapping[str, str], given_up: Collection[str]) -> None:
        statuses = dict(alively(self._st2.statuses(known.values()), self._alive))
        for action, execution in known.items():
            status = statuses.get(execution)
            if status is None:
                age = self._children.missed_for(action)
                self._delivery.offer(action, execution, age=age, waited=True)
                continue
            self._children.found(action)
            if action in given_up or status in states.ST2_FINAL:
                # It waited when this comparison began. Deleted since then, it looks like another
                # Mistral's to whoever does not know that.
                self._delivery.offer(action, execution, waited=True)
            else:
                # Else an adoption of which the outcome was unknown would count as failed for as long
                # as its child runs.
                self._delivery.is_well(action)

    def _look_at_childless(self, childless: Mapping[str, Any], given_up: Collection[str]) -> None:
        if not childless:
            return
        # Mistral's own clock: ours may be another.
        now = self._mistral.clock() or datetime.now(timezone.utc)
        limits = [s for s in (self._settings.reschedule_after, self._settings.lost_after) if s]
        for id_, action in childless.items():
            age = (now - reconcile.made_at(action)).total_seconds()
            if id_ in given_up or (limits and age >= min(limits)):
                self._delivery.offer(id_, age=age)


class Watcher:
    """Follows the event stream for as long as the relay lives."""

    def __init__(
        self,
        st2_settings: St2Settings,
        delivery: Delivery,
        children: Children,
        settings: RelaySettings,
        *,
        sweep_now: threading.Event,
        stop: threading.Event,
        seen: Callable[[Mapping[str, Any]], None] = lambda execution: None,
    ) -> None:
        """:param seen: called with every execution that has changed."""
        self._seen = seen
        self._st2_settings = st2_settings
        self._delivery = delivery
        self._children = children
        self._settings = settings
        self._sweep_now = sweep_now
        self._stop = stop
        self._lock = threading.Lock()
        self._stream: EventStream | None = None

    def run(self) -> None:
        """Watch until the relay stops; open the stream again whenever it ends."""
        failures = 0
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                self._watch()
                ended = "The event stream ended."
            except St2MistralError as error:
                ended = sentence(error.log_text())
            except Exception as error:
                # Nobody would start this thread again.
                LOG.exception("The event stream cannot be handled.")
                ended = f"{type(error).__name__} in the event stream."
            if self._stop.is_set():
                return
            lasted = time.monotonic() - begun
            failures = 1 if lasted > _LONGEST_PAUSE else failures + 1
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures - 1, 16))
            pause *= random.uniform(0.5, 1)  # noqa: S311 - spreads relays, hides nothing
            LOG.warning("%s Following StackStorm again in %.1f s.", ended, pause)
            self._stop.wait(pause)

    def end(self) -> None:
        """Wake :meth:`run` from waiting for an event, once the relay stops."""
        with self._lock:
            if self._stream is not None:
                self._stream.interrupt()

    def last_contact(self) -> float:
        """When something came of the stream last; seconds as ``time.time``, 0 while there is none."""
        with self._lock:
            return self._stream.last_contact if self._stream else 0.0

    def _watch(self) -> None:
        with EventStream(self._st2_settings) as stream:
            with self._lock:
                self._stream = stream
            try:
                if self._stop.is_set():
                    return
                for event in stream.events():
                    if event is None:
                        LOG.info("Following %s.", self._st2_settings.stream())
                        self._children.follow(True)
                        # Now nothing more is missed: list what was.
                        self._sweep_now.set()
                    else:
                        self._handle(event.execution)
            finally:
                self._children.follow(False)
                with self._lock:
                    self._stream = None

    def _handle(self, execution: dict[str, Any]) -> None:
        self._seen(execution)
        action = reconcile.action_of(execution, self._settings.site)
        if action is None:
            return
        if not self._children.note(action, execution["id"]):
            self._delivery.offer_surplus(action)
        elif execution["status"] in states.ST2_FINAL:
            whole = execution if "result" in execution else None
            self._delivery.offer(action, execution["id"], child=whole)
