"""Reconcile pending actions: complete, cancel, reschedule or close them as :mod:`decide` says."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.model import states
from st2actions_mistral.model.records import action_of
from st2actions_mistral.relay.actions.apply import Applier, CompletionListener
from st2actions_mistral.relay.actions.decide import Rules, Seen, decide, decide_duplicates
from st2actions_mistral.relay.actions.effects import (
    Cancel,
    Close,
    Complete,
    Effect,
    Look,
    Resume,
    Schedule,
    Wait,
)
from st2actions_mistral.relay.actions.index import Index
from st2actions_mistral.relay.actions.observe import ActionObserver, ParseRequest
from st2actions_mistral.relay.actions.resync import ActionResync
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.no_access import ClosedProjects
from st2actions_mistral.relay.workers import Workers
from st2actions_mistral.workqueue import LIMIT, Failure, WorkQueue

LOG: Final = logging.getLogger(__name__)

# Rejections of an action in a row after which the request itself, and not the moment, counts as the
# reason. Each takes some seconds, and the pauses between them double.
_RETRIES: Final = 3


@dataclass(frozen=True)
class Key:
    """The kind of work, and the action execution it is about."""

    action_execution_id: str
    duplicates: bool = False
    """True: cancel all children of the action but the first."""

    def __str__(self) -> str:
        of = "The search for duplicates of action" if self.duplicates else "Action"
        return f"{of} execution {self.action_execution_id}"


class ActionController:
    """Reconciles actions with their children. One worker per action, different ones in parallel.

    :param parse_request: how the inputs of a lost action are read.
    :param resync: set when a resync is wanted: the queue has room again.
    :param parents: receives each child whose action is complete.
    :param projects: collects the reports about projects without access.
    :param hints: where to look for the records of a project.
    :param heartbeat: called during long listings.
    :param limit: actions that may wait for a worker. Further ones are left to the next resync.
    """

    def __init__(
        self,
        st2: St2Client,
        clients: ProjectClients,
        settings: RelaySettings,
        *,
        parse_request: ParseRequest,
        metrics: Metrics,
        resync: threading.Event,
        parents: CompletionListener | None = None,
        projects: ClosedProjects | None = None,
        hints: Hints | None = None,
        heartbeat: Callable[[], None] = lambda: None,
        limit: int = LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules_of(settings)
        self._projects = projects or ClosedProjects()
        self._clock = clock
        self._queue: WorkQueue[Key] = WorkQueue(limit=limit, on_room=resync.set, clock=clock)
        self._index = Index(results=2 * settings.workers, clock=clock)
        self._observer = ActionObserver(
            st2,
            clients,
            settings.site,
            self._index,
            parse_request=parse_request,
            keys=settings.context_keys,
            hints=hints,
            clock=clock,
        )
        self._lister = ActionResync(
            st2,
            clients,
            self._rules,
            self._index,
            self._observer,
            heartbeat=heartbeat,
            projects=self._projects,
        )
        self.workers: Final = Workers(
            self._queue, self._work, name="actions", count=settings.workers, metrics=metrics
        )
        self._applier = Applier(
            st2,
            self._rules,
            self._index,
            metrics,
            on_duplicate=self._add_duplicates,
            parents=parents,
        )
        # Held while a large result is in memory.
        self._large_result = threading.RLock()
        self._lock = threading.Lock()
        # The time of the first event, or observation, that showed the child of an action as final.
        self._final_since: dict[str, float] = {}

    def add(self, action_execution_id: str) -> None:
        """Reconcile an action as soon as a worker is free."""
        self._queue.add(Key(action_execution_id))

    def _add_duplicates(self, action_execution_id: str) -> None:
        self._queue.add(Key(action_execution_id, duplicates=True))

    def on_execution_event(self, execution: Mapping[str, Any]) -> None:
        """Handle an event: an execution was created or has changed."""
        id_ = action_of(execution, self._rules.site, self._rules.context_keys)
        if id_ is None:
            return
        if not self._index.add(id_, execution["id"]):
            self._add_duplicates(id_)
            return
        self._observer.hints.learn_child(id_, execution)
        if execution["status"] in states.ST2_FINAL:
            if "result" in execution:
                self._index.put_result(id_, execution)
            self._mark_final(id_)
            self.add(id_)

    def on_streaming(self, streaming: bool) -> None:
        """Handle that all events arrive from now on, or that some may be lost."""
        self._index.set_streaming(streaming)

    def resync(self, *, full: bool) -> int:
        """Compare all pending actions with their children, and reconcile those that need it.

        :param full: see :meth:`ActionResync.compare`.
        :return: the number of pending actions.
        :raises RemoteError: a system did not answer.
        """
        self._projects.begin_resync()
        listing = self._lister.compare(full=full)
        with self._lock:
            for id_ in self._final_since.keys() - set(listing.pending) - set(listing.changed):
                del self._final_since[id_]
        for id_ in listing.healthy:
            # A POST with an unknown outcome has created the child after all, for example.
            self._queue.forget(Key(id_))
        for id_ in listing.changed:
            self.add(id_)
        for id_ in listing.duplicated:
            self._add_duplicates(id_)
        return len(listing.pending)

    def reconcile(self, action_execution_id: str) -> Effect:
        """Observe one action, decide what to do about it, and do it.

        :return: what was done.
        :raises St2MistralError: it could not be done.
        """
        seen = self._observer.observe(action_execution_id)
        exhausted = self._queue.failure(Key(action_execution_id)).rejections >= _RETRIES
        if seen.child is not None and seen.child["status"] in states.ST2_FINAL:
            self._mark_final(action_execution_id)
        effect = self._settle(
            action_execution_id, replace(seen, retries_exhausted=exhausted), self._rules
        )
        with self._lock:
            self._final_since.pop(action_execution_id, None)
        return effect

    def knows(self, action_execution_id: str) -> bool:
        """Return True if Mistral has an action, in any project.

        An administrator of Mistral 20 and 21 finds the actions of other projects in listings only.
        """
        seen = self._observer.observe_action(action_execution_id)
        return seen.action is not None or (
            seen.hidden and action_execution_id in self._lister.pending()
        )

    def repair(self, action_execution_id: str, *, force: bool = False) -> Effect:
        """Reconcile one action as if it had waited long enough, without a running relay.

        An action without an execution that is younger than ``reschedule_after`` is left to its
        executor.

        :param force: reschedule also such an action.
        :return: what was done.
        :raises St2MistralError: it could not be done.
        """
        seen = self._observer.observe(action_execution_id)
        if seen.action is not None:
            seen = self._observer.look(seen, Look.CHILDREN)
        after = -math.inf if force else self._rules.reschedule_after
        effect = self._settle(action_execution_id, seen, replace(self._rules, repair_after=after))
        if seen.children is not None and seen.children > 1:
            # No worker does it later.
            self._cancel_duplicates(action_execution_id)
        return effect

    def _settle(self, id_: str, seen: Seen, rules: Rules) -> Effect:
        """Decide, and observe more, until something is done."""
        with ExitStack() as large_result:
            effect = decide(seen, rules)
            while (again := self._carry_out(effect, seen, large_result)) is not None:
                seen = again
                effect = decide(seen, rules)
        if seen.children is not None and seen.children > 1:
            self._add_duplicates(id_)
        refused = isinstance(effect, Wait) and effect.no_access is not None
        if refused or seen.action is None or seen.action["state"] != states.RUNNING:
            self._index.forget(id_)
        return effect

    def failing(self) -> dict[str, Failure]:
        """Return the actions that could not be reconciled, each with its last failure."""
        failing = self._queue.failing()
        # If both kinds of work fail for an action, the result matters more than the duplicates.
        by_importance = sorted(failing, key=lambda key: not key.duplicates)
        return {key.action_execution_id: failing[key] for key in by_importance}

    def lag(self) -> float:
        """Return the age in seconds of the oldest result that is not in Mistral yet."""
        now = self._clock()
        with self._lock:
            return now - min(self._final_since.values(), default=now)

    def _work(self, key: Key) -> None:
        if key.duplicates:
            self._cancel_duplicates(key.action_execution_id)
        else:
            self.reconcile(key.action_execution_id)

    def _mark_final(self, id_: str) -> None:
        with self._lock:
            self._final_since.setdefault(id_, self._clock())

    def _carry_out(self, effect: Effect, seen: Seen, large_result: ExitStack) -> Seen | None:
        """Do what was decided.

        :param large_result: is left when the action is done.
        :return: what is seen now if another decision is needed.
        """
        if isinstance(effect, Look):
            if effect is Look.RESULT:
                # Two results of some 15 MB at once take more memory than is documented.
                large_result.enter_context(self._large_result)
            return self._observer.look(seen, effect)
        if isinstance(effect, Schedule):
            rejection = self._applier.schedule(effect, seen)
            return None if rejection is None else replace(seen, rejection=rejection, children=None)
        if isinstance(effect, Resume):
            self._applier.resume(effect)
            # Whatever StackStorm made of it: it is not asked again.
            return replace(seen, root=None)
        if isinstance(effect, Complete):
            self._applier.complete(effect, seen)
        elif isinstance(effect, Close):
            self._applier.close(effect, seen)
        elif isinstance(effect, Cancel):
            self._applier.cancel(effect)
        elif effect.error is not None:
            raise effect.error
        elif seen.action is not None:
            self._report(effect, seen.action["id"])
            LOG.debug("Action execution %s: %s.", seen.action["id"], effect.reason)
        return None

    def _cancel_duplicates(self, id_: str) -> None:
        seen = self._observer.observe_action(id_)
        effect = decide_duplicates(seen, None)
        if effect is Look.CHILDREN:
            effect = decide_duplicates(seen, self._observer.find_children(seen.action, id_))
        if isinstance(effect, Wait):
            if seen.action is not None:
                self._report(effect, id_)
            return
        assert isinstance(effect, tuple)
        for cancel in effect:
            self._applier.cancel_duplicate(cancel)

    def _report(self, effect: Wait, id_: str) -> None:
        if effect.no_access is not None:
            self._projects.report(effect.no_access, f"action execution {id_}")


def rules_of(settings: RelaySettings) -> Rules:
    """Return the options that decisions depend on."""
    return Rules(
        site=settings.site,
        limit_kb=settings.field_size_limit_kb,
        reschedule_after=settings.reschedule_after,
        lost_after=settings.lost_after,
        cancel_orphans=settings.cancel_orphans,
        context_keys=settings.context_keys,
    )
