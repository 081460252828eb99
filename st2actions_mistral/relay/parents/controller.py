"""Finish the executions whose workflows have ended, and cancel the workflows that nobody waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from st2actions_mistral.bridge.complete_parent import complete_parent
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import Answered, St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.model.ids import is_execution_id
from st2actions_mistral.model.report import lost_report
from st2actions_mistral.relay.foreign import ForeignProjects
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.parents import decide
from st2actions_mistral.relay.parents.decide import Cancel, Effect, Finish, Look, Refuse, Seen, Wait
from st2actions_mistral.relay.parents.observe import ParentObserver
from st2actions_mistral.relay.parents.pace import Pace
from st2actions_mistral.relay.parents.report import Reporter
from st2actions_mistral.relay.records import action_of
from st2actions_mistral.relay.workqueue import Failure, WorkQueue

LOG: Final = logging.getLogger(__name__)


class ParentController:
    """Reconciles parents with their workflows. One worker per parent, different ones in parallel.

    A key is the id of a parent execution, or that of a sub-workflow that Mistral left running.
    """

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        settings: RelaySettings,
        *,
        metrics: Metrics,
        projects: ForeignProjects,
        resync: threading.Event,
        heartbeat: Callable[[], None] = lambda: None,
        limit: int = 2000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param projects: collects the projects of workflows that must not be written to.
        :param resync: set when a resync of the actions is wanted: a workflow was cancelled, whose
            children are to be found.
        :param heartbeat: called during long listings.
        :param limit: parents that may wait for a worker. Further ones are left to the next resync.
        """
        self._st2 = st2
        self._mistral = mistral
        self._settings = settings
        self._rules = decide.Rules(settings.site, settings.lost_after)
        self._observer = ParentObserver(st2, mistral, settings.site, heartbeat=heartbeat)
        self._reporter = Reporter(st2, mistral, settings.site)
        self._metrics = metrics
        self._projects = projects
        self._resync = resync
        self._clock = clock
        self._queue: WorkQueue[str] = WorkQueue(limit=limit, clock=clock)
        self._pace = Pace(settings.resync_interval, clock)
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="parents")
        self._lock = threading.Lock()
        # Keys of which more is to be observed than the state of the workflow.
        self._urgent: set[str] = set()
        # By parent: its workflow, and when that was missed first.
        self._workflows: dict[str, str] = {}
        self._missed: dict[str, float] = {}

    def start(self) -> None:
        """Start the workers, which run until :meth:`close`."""
        for _ in range(self._settings.workers):
            self._pool.submit(self.work)

    def work(self, timeout: float | None = None) -> None:
        """Reconcile one key after the other, until :meth:`close`.

        :param timeout: return if no key is due for so many seconds.
        """
        while (key := self._queue.take(timeout)) is not None:
            try:
                self._reconcile(key)
                self._queue.forget(key)
            except St2MistralError as error:
                reason = error.log_text()
                LOG.warning("%s is retried later: %s", _described(key), reason)
                self._retry(key, reason)
            except Exception as error:
                LOG.exception("%s cannot be reconciled; it is retried later.", _described(key))
                self._retry(key, type(error).__name__)
            finally:
                self._queue.done(key)

    def close(self) -> None:
        """Finish what workers have begun, and drop everything else. The next relay resyncs."""
        self._queue.close()
        self._pool.shutdown(wait=True)

    def add(self, key: str) -> None:
        """Reconcile a parent, or a sub-workflow that was left running, as soon as a worker is free."""
        with self._lock:
            self._urgent.add(key)
        if not self._queue.add(key):
            with self._lock:
                self._urgent.discard(key)

    def on_execution_event(self, execution: Mapping[str, Any]) -> None:
        """Handle an event of StackStorm's stream: any execution was created or has changed."""
        final = execution["status"] in states.ST2_FINAL
        parent_id = decide.parent_of(execution)
        if parent_id and not final and action_of(execution, self._settings.site):
            self._pace.child_started(parent_id, execution["id"])
        if not decide.may_be_parent(execution, self._settings.site):
            return
        if decide.is_unwanted(execution):
            self.add(execution["id"])
        elif final:
            self._forget(execution["id"])
        else:
            self._look_in(execution["id"], self._pace.changed(execution["id"]))

    def on_streaming(self, streaming: bool) -> None:
        """Handle a gap in the events: the next resync finds what was missed."""

    def on_child_completed(self, child: Mapping[str, Any]) -> None:
        """Handle that the result of a child execution has reached Mistral: its workflow may end now."""
        parent_id = decide.parent_of(child)
        if parent_id:
            self._look_in(parent_id, self._pace.child_completed(parent_id, child["id"]))

    def resync(self) -> int:
        """Compare all parents and workflows, and reconcile those that do not agree.

        :return: the number of parents that wait for their workflow.
        :raises RemoteError: one of the systems did not answer.
        """
        listing = self._observer.compare()
        self._keep(listing.waiting, {*listing.doubtful, *listing.sub_workflows})
        for key in (*listing.doubtful, *listing.sub_workflows):
            self.add(key)
        return len(listing.waiting)

    def failing(self) -> dict[str, Failure]:
        """Return the keys that could not be reconciled, each with its last failure."""
        return self._queue.failing()

    def _retry(self, key: str, reason: str) -> None:
        self._metrics.retries.inc()
        with self._lock:
            self._urgent.add(key)
        self._queue.add_backoff(key, reason)

    def _reconcile(self, key: str) -> None:
        with self._lock:
            urgent = key in self._urgent
            self._urgent.discard(key)
        if not is_execution_id(key):
            self._apply(decide.decide_sub_workflow(*self._observer.sub_workflow(key)), key)
            return
        if not urgent:
            seconds = self._pace.take(key)
            if seconds is None:
                return
            if seconds > 0:
                self._look_in(key, seconds)
                return
        self._apply(*self._decided(key, urgent))

    def _decided(self, parent_id: str, urgent: bool) -> tuple[Effect, str, Seen | None]:
        with self._lock:
            workflow_id = self._workflows.get(parent_id)
        if workflow_id is not None and not urgent:
            state = self._observer.state(workflow_id)
            effect = decide.decide(state, self._rules)
            if not isinstance(effect, Look):
                return effect, parent_id, None
        seen = self._remembered(parent_id, self._observer.both(parent_id))
        while isinstance(effect := decide.decide(seen, self._rules), Look):
            seen = self._observer.look(effect, parent_id, seen)
        return effect, parent_id, seen

    def _remembered(self, parent_id: str, seen: Seen) -> Seen:
        """Add what only a series of observations shows."""
        ref = decide.ref_of(seen.parent, self._settings.site) if seen.parent else None
        failures = self._queue.failures(parent_id)
        with self._lock:
            if ref and seen.workflow:
                self._workflows[parent_id] = ref.execution_id
                self._missed.pop(parent_id, None)
                return replace(seen, failures=failures)
            since = self._missed.setdefault(parent_id, self._clock())
            was_seen = ref is not None and self._workflows.get(parent_id) == ref.execution_id
        missing_for = self._clock() - since
        return replace(seen, failures=failures, missing_for=missing_for, was_seen=was_seen)

    def _apply(self, effect: Effect, key: str, seen: Seen | None = None) -> None:
        if isinstance(effect, Finish):
            assert seen is not None
            self._finish(effect, seen)
        elif isinstance(effect, Cancel):
            LOG.info(
                "Cancelling workflow execution %s: %s.", effect.workflow_execution_id, effect.reason
            )
            self._cancel(effect.workflow_execution_id)
            if seen is not None:
                self._look_in(key, self._pace.ends_soon(key))
        elif isinstance(effect, Refuse):
            self._projects.report(effect.foreign, f"workflow execution {effect.workflow_execution_id}")
            self._pace.stop(key)
        elif isinstance(effect, Wait):
            LOG.debug("%s: %s.", _described(key), effect.reason)
            if effect.again:
                self._look_again(key)
            else:
                self._pace.stop(key)

    def _finish(self, effect: Finish, seen: Seen) -> None:
        execution_id = effect.execution_id
        if effect.lost:
            assert seen.parent is not None
            ref = decide.ref_of(seen.parent, self._settings.site)
            assert ref is not None
            report, state = lost_report(ref, effect.lost), "is lost"
        else:
            assert seen.workflow is not None
            report, state = self._reporter.report(seen.workflow), seen.workflow["state"]
        try:
            finished = complete_parent(
                self._st2, execution_id, effect.status, report, retries_exhausted=effect.truncate
            )
        except Answered as error:
            if error.status != 404:
                raise
            LOG.info("StackStorm execution %s was deleted before it could be finished.", execution_id)
            self._forget(execution_id)
            return
        workflow_id = report["mistral"]["workflow_execution_id"]
        if finished["status"] == states.ST2_CANCELING:
            # StackStorm asks its runner first.
            LOG.info(
                "Cancelling StackStorm execution %s: workflow execution %s %s.",
                execution_id,
                workflow_id,
                state,
            )
            if seen.parent is not None and seen.parent["status"] == states.ST2_CANCELING:
                self._look_again(execution_id)
            else:
                self._look_in(execution_id, self._pace.ends_soon(execution_id))
            return
        self._forget(execution_id)
        if finished["status"] != effect.status:
            LOG.info(
                "StackStorm execution %s was %s before the end of workflow execution %s.",
                execution_id,
                finished["status"],
                workflow_id,
            )
            return
        self._metrics.finished.inc()
        LOG.info(
            "Finished: StackStorm execution %s %s, workflow execution %s %s.",
            execution_id,
            finished["status"],
            workflow_id,
            state,
        )

    def _cancel(self, workflow_id: str) -> None:
        try:
            self._mistral.change_state(workflow_id, states.CANCELLED)
        except Answered as error:
            if error.status != 404:
                raise
            return
        self._metrics.stopped_workflows.inc()
        self._resync.set()

    def _look_again(self, parent_id: str) -> None:
        seconds = self._pace.still_running(parent_id)
        if seconds is not None:
            self._look_in(parent_id, seconds)

    def _look_in(self, parent_id: str, seconds: float) -> None:
        if not self._queue.add_after(parent_id, seconds):
            self._pace.stop(parent_id)

    def _forget(self, parent_id: str) -> None:
        self._pace.forget(parent_id)
        with self._lock:
            self._workflows.pop(parent_id, None)
            self._missed.pop(parent_id, None)

    def _keep(self, waiting: Mapping[str, str], doubtful: Collection[str]) -> None:
        """Forget what is known of all other executions."""
        self._pace.keep(waiting.keys())
        for key in self._queue.failing().keys() - waiting.keys() - set(doubtful):
            self._queue.discard(key)
        with self._lock:
            for known in (self._workflows, self._missed):
                for parent_id in known.keys() - waiting.keys():
                    del known[parent_id]


def _described(key: str) -> str:
    return f"{'StackStorm' if is_execution_id(key) else 'Workflow'} execution {key}"
