"""List, then watch: sweeps that compare both systems, and the event stream in between."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Any, Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.client.stream import EventStream
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.relay import reconcile
from st2actions_mistral.relay.delivery import Delivery, base_of

LOG: Final = logging.getLogger(__name__)

# Seconds between two tries to open the stream. A stream that ends at once (nginx in front of a dead
# stream service answers 200 and nothing) counts as a failure too.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


class Children:
    """Which child belongs to which action: hints from the stream and from listings.

    A hint spares a listing, nothing more: it is lost with the relay, and found again by it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_action: dict[str, str] = {}

    def note(self, action_execution_id: str, execution_id: str) -> bool:
        """Remember a child of an action.

        :return: whether it is the one that counts: the first that was heard of.
        """
        with self._lock:
            return self._of_action.setdefault(action_execution_id, execution_id) == execution_id

    def forget_all_but(self, action_execution_ids: set[str], before: set[str]) -> None:
        """Forget the children of actions that no longer wait.

        :param before: what was known before Mistral was asked what waits; a child heard of since
            then may belong to an action that was not in Mistral's answer yet.
        """
        with self._lock:
            for action in before - action_execution_ids:
                self._of_action.pop(action, None)

    def snapshot(self) -> dict[str, str]:
        """Child by action, as of now."""
        with self._lock:
            return dict(self._of_action)


class Sweeper:
    """Compares what Mistral waits for with what StackStorm has finished."""

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        delivery: Delivery,
        children: Children,
        settings: RelaySettings,
    ) -> None:
        self._st2 = st2
        self._mistral = mistral
        self._delivery = delivery
        self._children = children
        self._settings = settings

    def sweep(self) -> int:
        """Have every result delivered that a RUNNING action waits for.

        :return: how many actions wait.
        :raises RemoteError: one of the two systems does not answer.
        """
        before = set(self._children.snapshot())
        waiting = self._waiting()
        self._children.forget_all_but(set(waiting), before)
        if not waiting:
            return 0
        known = {a: c for a, c in self._children.snapshot().items() if a in waiting}
        statuses = self._st2.statuses(known.values())
        for action, execution in known.items():
            self._offer_if_final(action, execution, statuses.get(execution))
        self._find({id_: action for id_, action in waiting.items() if id_ not in known})
        return len(waiting)

    def _waiting(self) -> dict[str, Any]:
        running = list(self._mistral.running_actions())
        names = {str(action["name"]) for action in running}
        ours = {name for name in names if base_of(self._mistral, name) == reconcile.ACTION_NAME}
        return {action["id"]: action for action in running if action["name"] in ours}

    def _find(self, childless: dict[str, Any]) -> None:
        if not childless:
            return
        since = reconcile.oldest(childless.values())
        found: dict[str, dict[str, Any]] = {}
        for child in self._st2.children_since(self._settings.site, since):
            action = reconcile.action_of(child, self._settings.site)
            if action in childless:
                # The newest come first; of two children of one action the first made one counts.
                found[action] = child
        for action, child in found.items():
            self._children.note(action, child["id"])
            self._offer_if_final(action, child["id"], child["status"])

    def _offer_if_final(self, action: str, execution: str, status: str | None) -> None:
        if status in states.ST2_FINAL:
            self._delivery.offer(action, execution)


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
    ) -> None:
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
                ended = str(error)
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
                        # Now nothing more is missed: list what was.
                        self._sweep_now.set()
                    else:
                        self._handle(event.execution)
            finally:
                with self._lock:
                    self._stream = None

    def _handle(self, execution: dict[str, Any]) -> None:
        action = reconcile.action_of(execution, self._settings.site)
        if action is None:
            return
        counts = self._children.note(action, execution["id"])
        if counts and execution["status"] in states.ST2_FINAL:
            whole = execution if "result" in execution else None
            self._delivery.offer(action, execution["id"], child=whole)
