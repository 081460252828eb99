"""Bring the ends of workflows to the StackStorm executions that they run for, and the other way: cancel
in Mistral what is cancelled in StackStorm. Many at once, each once."""

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
from st2actions_mistral.errors import Answered, OutcomeUnknown, St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.model.report import lost_report
from st2actions_mistral.relay import parents
from st2actions_mistral.relay.backoff import Backoff
from st2actions_mistral.relay.foreign import ForeignProjects
from st2actions_mistral.relay.lookout import Lookout
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.parent_view import ParentView
from st2actions_mistral.relay.parents import Finish, Leave, Refuse, Seen, Stop

LOG: Final = logging.getLogger(__name__)

# Parents that wait for a worker. What is above is left to the next sweep.
_WAITING: Final = 2000

# Failures of a parent after which its report, and no longer the moment, is taken to be the reason: each
# takes some seconds, and the pauses between them double.
_TRIES_OF_THE_WHOLE: Final = 3


class Ends:
    """Settles parents. One is worked on by one worker at a time; different ones side by side.

    :param given_up: called once a workflow is cancelled: its children are now to be found.
    """

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        settings: RelaySettings,
        view: ParentView,
        *,
        metrics: Metrics,
        projects: ForeignProjects | None = None,
        given_up: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._st2 = st2
        self._mistral = mistral
        self._settings = settings
        self._view = view
        self._metrics = metrics
        self._given_up = given_up
        self._projects = projects or ForeignProjects()
        self._clock = clock
        self._lookout = Lookout(settings.resync_interval, clock)
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="end")
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._again: set[str] = set()
        self._workflows: dict[str, str] = {}
        self._missed: dict[str, float] = {}
        self.backoff = Backoff(clock)

    def run(self) -> None:
        """Have looked at what may have news, until :meth:`close`."""
        while (item := self._lookout.take()) is not None:
            self.offer(item, briefly=True)

    def seen(self, execution: Mapping[str, Any]) -> None:
        """An execution has changed, as the event stream shows it."""
        if not parents.may_be_parent(execution, self._settings.site):
            return
        if parents.wants_no_more(execution):
            self.offer(execution["id"])
        elif execution["status"] in states.ST2_FINAL:
            self._forget(execution["id"])
        else:
            self._lookout.soon(execution["id"])

    def delivered(self, child: Mapping[str, Any]) -> None:
        """An action has got its child's result: its workflow may end now."""
        parent_id = parents.parent_of(child)
        if parent_id:
            self._lookout.soon(parent_id)

    def offer(self, parent_id: str, *, briefly: bool = False) -> None:
        """Have a parent and its workflow looked at, unless that is under way.

        :param briefly: ask only whether the workflow is at work, where it is known and that will do.
        """
        if not self.backoff.is_due(parent_id):
            self._put_off(parent_id)
            return
        with self._lock:
            if parent_id in self._under_way:
                self._again.add(parent_id)
                return
            if len(self._under_way) >= _WAITING:
                return
            self._under_way.add(parent_id)
        try:
            self._pool.submit(self._work, parent_id, briefly)
        except RuntimeError:
            # The pool is closed: the relay is about to end, and its successor sweeps.
            self._done(parent_id)

    def sweep(self) -> int:
        """Have looked at all parents whose workflow has ended, and at what nobody waits for any more.

        :return: how many parents wait.
        :raises RemoteError: one of the two systems does not answer.
        """
        listed = self._view.listed()
        self._keep(listed.waiting, listed.doubtful)
        for parent_id in listed.doubtful:
            self.offer(parent_id)
        for workflow_id in listed.leftover:
            LOG.info("Cancelling workflow execution %s: the one above it is cancelled.", workflow_id)
            try:
                self._stop(workflow_id)
            except (Answered, OutcomeUnknown) as error:
                # One that cannot be cancelled must not keep the others from being looked at.
                LOG.warning("Workflow execution %s is left for now: %s", workflow_id, error.log_text())
        return len(listed.waiting)

    def close(self) -> None:
        """Finish what a worker has begun, forget what waits."""
        self._lookout.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, parent_id: str, briefly: bool) -> None:
        try:
            if briefly and self._is_at_work(parent_id):
                self._lookout.later(parent_id)
            else:
                self._settle(parent_id)
            self.backoff.succeeded(parent_id)
        except St2MistralError as error:
            reason = error.log_text()
            LOG.warning("StackStorm execution %s is left as it is for now: %s", parent_id, reason)
            self._failed(parent_id, reason)
        except Exception as error:
            LOG.exception("StackStorm execution %s cannot be handled.", parent_id)
            self._failed(parent_id, type(error).__name__)
        finally:
            self._done(parent_id)

    def _is_at_work(self, parent_id: str) -> bool:
        with self._lock:
            workflow_id = self._workflows.get(parent_id)
        return workflow_id is not None and self._view.is_at_work(workflow_id)

    def _settle(self, parent_id: str) -> None:
        seen = self._view.look(parent_id)
        ref = parents.ref_of(seen.parent, self._settings.site) if seen.parent else None
        with self._lock:
            if ref and seen.workflow:
                self._workflows[parent_id] = ref.execution_id
                self._missed.pop(parent_id, None)
            else:
                since = self._missed.setdefault(parent_id, self._clock())
                was_seen = ref is not None and self._workflows.get(parent_id) == ref.execution_id
                seen = replace(seen, age=self._clock() - since, was_seen=was_seen)
        effect = parents.settle(seen, self._settings.site, self._settings.lost_after)
        if isinstance(effect, Finish):
            self._finish(effect, seen)
        elif isinstance(effect, Stop):
            LOG.info(
                "Cancelling workflow execution %s: %s.", effect.workflow_execution_id, effect.reason
            )
            self._stop(effect.workflow_execution_id)
            self._lookout.soon(parent_id)
        elif isinstance(effect, Refuse):
            self._projects.report(effect.foreign, f"workflow execution {effect.workflow_execution_id}")
            self._lookout.forget(parent_id)
        else:
            self._leave(effect, parent_id, seen)

    def _leave(self, effect: Leave, parent_id: str, seen: Seen) -> None:
        LOG.debug("StackStorm execution %s: %s.", parent_id, effect.reason)
        expected = seen.parent is not None and parents.may_be_parent(seen.parent, self._settings.site)
        if effect.again and expected:
            self._lookout.later(parent_id)
        else:
            self._lookout.forget(parent_id)

    def _finish(self, effect: Finish, seen: Seen) -> None:
        assert seen.parent is not None
        ref = parents.ref_of(seen.parent, self._settings.site)
        if effect.lost:
            assert ref is not None
            report, state = lost_report(ref, effect.lost), "is lost"
        else:
            assert seen.workflow is not None
            state = seen.workflow["state"]
            report = self._view.report(seen.workflow)
        failure = self.backoff.failing().get(seen.parent["id"])
        tried_enough = failure is not None and failure.times >= _TRIES_OF_THE_WHOLE
        try:
            told = complete_parent(
                self._st2, effect.execution_id, effect.status, report, retries_exhausted=tried_enough
            )
        except Answered as error:
            if error.status != 404:
                raise
            LOG.info("StackStorm execution %s is gone before its end.", effect.execution_id)
            self._forget(effect.execution_id)
            return
        workflow_id = report["mistral"]["workflow_execution_id"]
        if told["status"] == states.ST2_CANCELING:
            # StackStorm asks its runner first.
            LOG.info(
                "Cancelling StackStorm execution %s: workflow execution %s %s.",
                told["id"],
                workflow_id,
                state,
            )
            known = seen.parent["status"] == states.ST2_CANCELING
            look_again = self._lookout.later if known else self._lookout.soon
            look_again(effect.execution_id)
            return
        self._forget(effect.execution_id)
        if told["status"] != effect.status:
            LOG.info(
                "StackStorm execution %s was %s before the end of workflow execution %s.",
                told["id"],
                told["status"],
                workflow_id,
            )
            return
        self._metrics.finished.inc()
        LOG.info(
            "Finished: StackStorm execution %s %s, workflow execution %s %s.",
            told["id"],
            told["status"],
            workflow_id,
            state,
        )

    def _stop(self, workflow_id: str) -> None:
        try:
            self._mistral.change_state(workflow_id, states.CANCELLED)
        except Answered as error:
            if error.status != 404:
                raise
            return
        self._metrics.stopped.inc()
        self._given_up()

    def _failed(self, parent_id: str, reason: str) -> None:
        self._metrics.retried.inc()
        self.backoff.failed(parent_id, reason)
        self._put_off(parent_id)

    def _put_off(self, parent_id: str) -> None:
        """Look at what has failed when its turn comes, whatever is heard of it before."""
        failure = self.backoff.failing().get(parent_id)
        if failure is not None:
            self._lookout.after(parent_id, failure.due - self._clock())

    def _done(self, parent_id: str) -> None:
        with self._lock:
            self._under_way.discard(parent_id)
            again = parent_id in self._again
            self._again.discard(parent_id)
        if again:
            self.offer(parent_id)

    def _forget(self, parent_id: str) -> None:
        self._lookout.forget(parent_id)
        with self._lock:
            self._workflows.pop(parent_id, None)
            self._missed.pop(parent_id, None)

    def _keep(self, waiting: Mapping[str, str], doubtful: Collection[str]) -> None:
        self.backoff.keep(waiting.keys() | set(doubtful))
        with self._lock:
            for known in (self._workflows, self._missed):
                for parent_id in known.keys() - waiting.keys():
                    del known[parent_id]
