"""Finish the executions whose workflows have ended, and cancel the workflows that nobody waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.bridge.parents import decide
from st2actions_mistral.bridge.parents.decide import (
    Cancel,
    ChangeState,
    ChangeStatus,
    Effect,
    Finish,
    Look,
    Refuse,
    Seen,
    SubWorkflowSeen,
    Wait,
)
from st2actions_mistral.bridge.parents.observe import ParentObserver
from st2actions_mistral.bridge.parents.write import ParentWriter
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import Answered
from st2actions_mistral.model import states
from st2actions_mistral.model.notifications import NOTIFIER_FIRST
from st2actions_mistral.model.records import action_of
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.no_access import ClosedProjects
from st2actions_mistral.relay.parents.compare import Listing, ParentComparison
from st2actions_mistral.relay.parents.polling import PollSchedule
from st2actions_mistral.relay.workers import Workers
from st2actions_mistral.workqueue import Failure, WorkQueue

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """The subject of one worker."""

    id: str
    """Id of a parent execution."""
    sub_workflow: bool = False
    """True: ``id`` is that of a sub-workflow that Mistral left running."""

    def __str__(self) -> str:
        return f"{'Workflow' if self.sub_workflow else 'StackStorm'} execution {self.id}"


class ParentController:
    """Reconciles parents with their workflows. One worker per parent, different ones in parallel.

    :param resync: set when a resync of the actions is wanted: a workflow was cancelled, and its child
        executions must be found.
    :param projects: collects the reports about projects without access.
    :param hints: where to look for the records of a project.
    :param heartbeat: called during long listings.
    :param limit: parents that may wait for a worker. Further ones are left to the next resync.
    """

    def __init__(
        self,
        st2: St2Client,
        clients: ProjectClients,
        settings: RelaySettings,
        *,
        metrics: Metrics,
        projects: ClosedProjects,
        hints: Hints | None = None,
        resync: threading.Event,
        heartbeat: Callable[[], None] = lambda: None,
        limit: int = 2000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = decide.Rules(settings.site, settings.lost_after, NOTIFIER_FIRST)
        self._keys = settings.context_keys
        hints = hints or Hints()
        self._observer = ParentObserver(
            st2, clients, settings.site, keys=self._keys, hints=hints, heartbeat=heartbeat
        )
        self._comparison = ParentComparison(
            st2, clients.lister, settings.site, self._observer, hints=hints, heartbeat=heartbeat
        )
        self._writer = ParentWriter(
            st2, clients.lister, settings.site, keys=self._keys, layout=settings.result_layout
        )
        self._metrics = metrics
        self._projects = projects
        self._resync = resync
        self._clock = clock
        self._queue: WorkQueue[Key] = WorkQueue(limit=limit, on_room=resync.set, clock=clock)
        self._polling = PollSchedule(settings.resync_interval, clock)
        self.workers: Final = Workers(
            self._queue, self._reconcile, name="parents", count=settings.workers, metrics=metrics
        )
        self._lock = threading.Lock()
        # Parents for which the state of the workflow does not suffice.
        self._urgent: set[str] = set()
        # By parent: its workflow, and the time at which that was first found missing.
        self._workflows: dict[str, str] = {}
        self._missed: dict[str, float] = {}
        # By parent: its status, and the time at which it was first seen.
        self._status: dict[str, tuple[str, float]] = {}
        # By parent: the state of its workflow, and the time at which it was first seen.
        self._state: dict[str, tuple[str, float]] = {}
        # Parents that StackStorm refused to pause.
        self._unpausable: set[str] = set()

    def add(self, parent_id: str) -> None:
        """Reconcile a parent as soon as a worker is free."""
        with self._lock:
            self._urgent.add(parent_id)
        if not self._queue.add(Key(parent_id)):
            with self._lock:
                self._urgent.discard(parent_id)

    def on_execution_event(self, execution: Mapping[str, Any]) -> None:
        """Handle an event: an execution was created or has changed."""
        final = execution["status"] in states.ST2_FINAL
        parent_id = decide.parent_of(execution)
        if parent_id and final:
            self._polling.child_ended(parent_id, execution["id"])
        elif parent_id and action_of(execution, self._rules.site, self._keys):
            if execution["status"] in states.ST2_INACTIVE:
                # The parent may be paused now.
                self._poll_in(parent_id, self._polling.child_completed(parent_id, execution["id"]))
                if decide.is_paused_workflow(execution):
                    # A running parent is to be paused.
                    self.add(parent_id)
            else:
                self._polling.child_started(parent_id, execution["id"])
        if not decide.may_be_parent(execution, self._rules.site):
            return
        if decide.is_unwanted(execution):
            self.add(execution["id"])
        elif final:
            self._forget(execution["id"])
        else:
            self._poll_in(execution["id"], self._polling.parent_changed(execution["id"]))

    def on_streaming(self, streaming: bool) -> None:
        """Handle that all events arrive from now on, or that some may be lost."""
        self._polling.forget_children()

    def on_child_completed(self, child: Mapping[str, Any]) -> None:
        """Handle a result that has reached Mistral: the workflow of the child may end now."""
        parent_id = decide.parent_of(child)
        if parent_id:
            self._poll_in(parent_id, self._polling.child_completed(parent_id, child["id"]))

    def resync(self) -> int:
        """Compare all parents and workflows, and reconcile those that do not agree.

        :return: the number of parents that wait for their workflow.
        :raises RemoteError: one of the systems did not answer.
        """
        listing = self._comparison.compare()
        self._keep(listing)
        for parent_id in listing.changed:
            self.add(parent_id)
        for workflow_id in listing.sub_workflows:
            self._queue.add(Key(workflow_id, sub_workflow=True))
        return len(listing.pending)

    def failing(self) -> dict[str, Failure]:
        """Return the executions that could not be reconciled, each with its last failure."""
        return {key.id: failure for key, failure in self._queue.failing().items()}

    def _reconcile(self, key: Key) -> None:
        if key.sub_workflow:
            below = self._observer.sub_workflow(key.id)
            self._apply(decide.decide_sub_workflow(below), key, below)
            return
        with self._lock:
            urgent = key.id in self._urgent or self._queue.failure(key).times > 0
            self._urgent.discard(key.id)
            workflow_id = None if urgent else self._workflows.get(key.id)
        if not urgent:
            seconds = self._polling.take(key.id)
            if seconds is None:
                return
            if seconds > 0:
                self._poll_in(key.id, seconds)
                return
        self._apply(*self._decide(key, workflow_id))

    def _decide(self, key: Key, workflow_id: str | None) -> tuple[Effect, Key, Seen | None]:
        """Decide, and observe more, until there is an effect to apply.

        :param workflow_id: observe only its state, if that suffices.
        """
        if workflow_id is not None:
            effect = decide.decide(self._observer.state(workflow_id), self._rules)
            if not isinstance(effect, Look):
                return effect, key, None
        seen = self._with_history(key, self._observer.observe(key.id))
        while isinstance(effect := decide.decide(seen, self._rules), Look):
            seen = self._observer.look(effect, key.id, seen)
        return effect, key, seen

    def _with_history(self, key: Key, seen: Seen) -> Seen:
        """Add what earlier observations of the parent tell."""
        ref = decide.ref_of(seen.parent, self._rules.site) if seen.parent else None
        seen = replace(seen, rejections=self._queue.failure(key).rejections)
        with self._lock:
            if seen.parent:
                status_for = self._seen_for(self._status, key.id, seen.parent["status"])
                refused = key.id in self._unpausable
                seen = replace(seen, status_for=status_for, pause_refused=refused)
            if seen.workflow:
                state_for = self._seen_for(self._state, key.id, seen.workflow["state"])
                seen = replace(seen, state_for=state_for)
            if ref and seen.workflow:
                self._workflows[key.id] = ref.execution_id
                self._missed.pop(key.id, None)
                return seen
            now = self._clock()
            since = self._missed.setdefault(key.id, now)
        return replace(seen, missing_for=now - since)

    def _seen_for(self, known: dict[str, tuple[str, float]], id_: str, value: str) -> float:
        """Return the seconds since a value was first seen, and remember when that was."""
        now = self._clock()
        if id_ not in known or known[id_][0] != value:
            known[id_] = value, now
        return now - known[id_][1]

    def _apply(self, effect: Effect, key: Key, seen: Seen | SubWorkflowSeen | None = None) -> None:
        if isinstance(effect, Finish):
            assert isinstance(seen, Seen)
            self._finish(effect, seen)
        elif isinstance(effect, Cancel):
            LOG.info(
                "Cancelling workflow execution %s: %s.", effect.workflow_execution_id, effect.reason
            )
            self._cancel(effect.workflow_execution_id, _client_of(seen))
            if not key.sub_workflow:
                self._poll_in(key.id, self._polling.cancelled(key.id))
        elif isinstance(effect, ChangeState):
            LOG.info(
                "Changing workflow execution %s to %s: %s.",
                effect.workflow_execution_id,
                effect.state,
                effect.reason,
            )
            if effect.state == states.RUNNING:
                _client_of(seen).resume(effect.workflow_execution_id)
            else:
                _client_of(seen).change_state(effect.workflow_execution_id, effect.state)
            self.add(key.id)
        elif isinstance(effect, ChangeStatus):
            self._change_status(effect, key)
        elif isinstance(effect, Refuse):
            self._projects.report(
                effect.no_access, f"workflow execution {effect.workflow_execution_id}"
            )
            self._polling.stop(key.id)
        elif isinstance(effect, Wait):
            LOG.debug("%s: %s.", key, effect.reason)
            if effect.seconds is not None:
                self._poll_in(key.id, self._polling.later(key.id, effect.seconds))
            elif effect.again:
                self._poll_again(key.id)
            else:
                self._polling.stop(key.id)

    def _change_status(self, effect: ChangeStatus, key: Key) -> None:
        now = self._writer.change_status(effect)
        if effect.status == states.ST2_PAUSING and now == states.ST2_RUNNING:
            LOG.warning(
                "StackStorm cannot pause execution %s. Its workflow is paused: resume it in Mistral."
                " See the log of st2api for the reason.",
                effect.execution_id,
            )
            with self._lock:
                self._unpausable.add(effect.execution_id)
        self._poll_again(key.id)

    def _finish(self, effect: Finish, seen: Seen) -> None:
        execution_id = effect.execution_id
        status = self._writer.finish(effect, self._writer.report(effect, seen))
        if status != states.ST2_CANCELING:
            self._forget(execution_id)
            if status == effect.status:
                self._metrics.finished.inc()
        elif seen.parent is not None and seen.parent["status"] == states.ST2_CANCELING:
            self._poll_again(execution_id)
        else:
            self._poll_in(execution_id, self._polling.cancelled(execution_id))

    def _cancel(self, workflow_id: str, client: MistralClient) -> None:
        try:
            client.change_state(workflow_id, states.CANCELLED)
        except Answered as error:
            if error.status != 404:
                raise
            return
        self._metrics.stopped_workflows.inc()
        self._resync.set()

    def _poll_again(self, parent_id: str) -> None:
        seconds = self._polling.still_running(parent_id)
        if seconds is not None:
            self._poll_in(parent_id, seconds)

    def _poll_in(self, parent_id: str, seconds: float) -> None:
        if not self._queue.add_after(Key(parent_id), seconds):
            self._polling.stop(parent_id)

    def _forget(self, parent_id: str) -> None:
        self._polling.forget(parent_id)
        with self._lock:
            self._workflows.pop(parent_id, None)
            self._missed.pop(parent_id, None)
            self._status.pop(parent_id, None)
            self._state.pop(parent_id, None)
            self._unpausable.discard(parent_id)

    def _keep(self, listing: Listing) -> None:
        """Forget all executions that are not in a listing."""
        self._polling.keep(listing.pending.keys())
        listed = listing.pending.keys() | {*listing.changed, *listing.sub_workflows}
        for key in self._queue.failing():
            if key.id not in listed:
                self._queue.discard(key)
                with self._lock:
                    self._urgent.discard(key.id)
        with self._lock:
            for known in (self._workflows, self._missed, self._status, self._state):
                for parent_id in known.keys() - listing.pending.keys():
                    del known[parent_id]
            self._unpausable &= listing.pending.keys()


def _client_of(seen: Seen | SubWorkflowSeen | None) -> MistralClient:
    # A decision about a workflow without access never changes it.
    assert seen is not None
    assert seen.client is not None
    return seen.client
