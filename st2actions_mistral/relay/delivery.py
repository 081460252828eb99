"""Level actions and their children: bring results to Mistral, cancel what Mistral gave up, schedule
what an executor lost. Many at once, each once."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import Child, St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import Answered, InputError, St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.relay import reconcile
from st2actions_mistral.relay.backoff import Backoff
from st2actions_mistral.relay.children import Children
from st2actions_mistral.relay.reconcile import Adopt, Cancel, Complete, Seen

LOG: Final = logging.getLogger(__name__)

# Actions that wait for a worker. What is above is left to the next sweep, so that a burst takes
# neither memory without bound nor the place of what comes after it.
_WAITING: Final = 2000

# Whole results that wait, for each worker. StackStorm's may have 16 MB; the others are fetched again.
_WHOLE: Final = 2

# Seconds for which a task is taken to be as it was: the items of a with-items share it.
_TASK_IS_FRESH: Final = 1.0

Requested = Callable[[Mapping[str, Any], MistralIds], Child | None]
"""Makes the child of an action's input, see ``scheduling.requested``; None where it is meant for
another StackStorm than the relay's. Raises InputError."""


@dataclass(frozen=True)
class _Job:
    action: str
    execution: str | None = None
    child: Mapping[str, Any] | None = None
    age: float = 0


class Delivery:
    """Levels actions. One action is worked on by one worker at a time; different ones side by side.

    :param requested: how a lost action is read.
    :param room: called once there is room again, after something had to be turned away.
    """

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        settings: RelaySettings,
        children: Children,
        *,
        requested: Requested,
        room: Callable[[], None] = lambda: None,
    ) -> None:
        self._st2 = st2
        self._mistral = mistral
        self._rules = reconcile.Rules(
            site=settings.site,
            limit_kb=settings.field_size_limit_kb,
            adopt_after=settings.adopt_after,
            lost_after=settings.lost_after,
            cancel_orphans=settings.cancel_orphans,
        )
        self._children = children
        self._requested = requested
        self._room = room
        self._workers = settings.workers
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="deliver")
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._turned_away = False
        self._tasks: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self.backoff = Backoff()

    def offer(
        self,
        action_execution_id: str,
        execution_id: str | None = None,
        *,
        child: Mapping[str, Any] | None = None,
        age: float = 0,
    ) -> Future[bool] | None:
        """Have an action and its child looked at, unless that is under way.

        :param execution_id: its child, as far as it is known.
        :param child: the whole execution where it is at hand; else it is fetched.
        :param age: seconds since the action was made, or since its child was missed.
        :return: a future of whether something was done, None where nothing was begun.
        """
        if not self.backoff.is_due(action_execution_id):
            return None
        with self._lock:
            if action_execution_id in self._under_way:
                return None
            if len(self._under_way) >= _WAITING:
                self._turned_away = True
                return None
            if len(self._under_way) >= self._workers * _WHOLE:
                child = None
            self._under_way.add(action_execution_id)
        try:
            job = _Job(action_execution_id, execution_id, child, age)
            return self._pool.submit(self._work, job)
        except RuntimeError:
            # The pool is closed: the relay is about to end, and its successor sweeps.
            self._done(action_execution_id)
            return None

    def offer_surplus(self, action_execution_id: str) -> None:
        """Have all children of an action but the first cancelled."""
        try:
            self._pool.submit(self._work_surplus, action_execution_id)
        except RuntimeError:
            LOG.debug("Action execution %s is left to the next relay.", action_execution_id)

    def close(self) -> None:
        """Finish what a worker has begun, forget what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, job: _Job) -> bool:
        try:
            seen = self._look(job)
            done = self._apply(reconcile.settle(seen, self._rules), seen)
            self.backoff.succeeded(job.action)
            if seen.action is None or seen.action["state"] != states.RUNNING:
                self._children.forget(job.action)
            return done
        except St2MistralError as error:
            LOG.warning("Action execution %s is left as it is for now: %s", job.action, error)
        except Exception:
            LOG.exception("Action execution %s cannot be handled.", job.action)
        finally:
            self._done(job.action)
        self.backoff.failed(job.action)
        return False

    def _look(self, job: _Job) -> Seen:
        action = self._mistral.get_action(job.action)
        child = job.child
        if child is None and job.execution is not None:
            child = self._st2.get_execution(job.execution)
        if action is None or action["state"] != states.RUNNING:
            base = base_of(self._mistral, action["name"]) if action else None
            return Seen(action, base=base, child=child)
        return Seen(
            action,
            base=base_of(self._mistral, action["name"]),
            place=self._place(action, child),
            child=child,
            vanished=job.execution if child is None else None,
            age=job.age,
        )

    def _place(
        self, action: Mapping[str, Any], child: Mapping[str, Any] | None
    ) -> reconcile.Place | None:
        task_id = action.get("task_execution_id")
        if not task_id:
            return None
        task = self._task(task_id)
        if task is None:
            # Mistral deletes a workflow with all that it has.
            return reconcile.Place(states.CANCELLED, states.CANCELLED)
        workflow: dict[str, Any] | None = {"state": states.RUNNING}
        if child is None or child["status"] not in states.ST2_FINAL:
            # A result goes home whether the workflow is cancelled or not; else it matters.
            workflow = self._mistral.get_execution(task["workflow_execution_id"])
        attempts = [] if reconcile.has_items(task) else self._mistral.attempts(task["id"])
        return reconcile.Place.of(action, task, workflow, attempts)

    def _task(self, task_id: str) -> dict[str, Any] | None:
        now = time.monotonic()
        with self._lock:
            seen, task = self._tasks.get(task_id, (-_TASK_IS_FRESH, None))
        if task is None or now - seen >= _TASK_IS_FRESH:
            task = self._mistral.get_task(task_id)
            with self._lock:
                if len(self._tasks) >= _WAITING:
                    self._tasks.clear()
                # Only with items are there others that ask for it too, and no attempts to tell apart.
                if task is not None and reconcile.has_items(task):
                    self._tasks[task_id] = (now, task)
        return task

    def _apply(self, effect: reconcile.Effect, seen: Seen) -> bool:
        if isinstance(effect, Complete):
            return self._complete(effect, seen.child)
        if isinstance(effect, Cancel):
            LOG.info("Cancelling StackStorm execution %s: %s.", effect.execution_id, effect.reason)
            return self._st2.cancel(effect.execution_id)
        if isinstance(effect, Adopt):
            return self._adopt(seen)
        if seen.action is not None:
            LOG.debug("Action execution %s: %s.", seen.action["id"], effect.reason)
        return False

    def _complete(self, effect: Complete, child: Mapping[str, Any] | None) -> bool:
        action = effect.action_execution_id
        delivered = self._mistral.complete_action(action, effect.state, effect.output)
        # Else it would be looked at again once Mistral does not list it any more.
        self._children.forget(action)
        if child is None:
            LOG.warning(
                "Closed: action execution %s %s, without an execution in StackStorm: %s",
                action,
                effect.state,
                effect.output["error"],
            )
        elif delivered:
            LOG.info(
                "Delivered: StackStorm execution %s %s, action execution %s %s.",
                child["id"],
                child["status"],
                action,
                effect.state,
            )
        else:
            LOG.info(
                "Action execution %s was complete before the result of StackStorm execution %s.",
                action,
                child["id"],
            )
        return delivered

    def _adopt(self, seen: Seen) -> bool:
        """Schedule what was never scheduled, from Mistral's own record."""
        action = seen.action
        assert action is not None
        try:
            child = self._requested(inputs_of(action), self._ids(action))
            if child is None:
                LOG.debug("Action execution %s is for another StackStorm.", action["id"])
                return False
            made = self._st2.schedule(child, look_first=True, since=reconcile.made_at(action))
        except InputError as error:
            return self._refuse(seen, error)
        except Answered as error:
            if error.status == 401:
                # It is us who are not let in, not this action.
                raise
            return self._refuse(seen, error)
        self._children.note(action["id"], made["id"])
        LOG.warning(
            "Adopted: StackStorm execution %s (%s) runs for action execution %s, which had none for"
            " %.0f s.",
            made["id"],
            child.ref,
            action["id"],
            seen.age,
        )
        return True

    def _refuse(self, seen: Seen, error: InputError | Answered) -> bool:
        effect = reconcile.refused(seen, self._rules, str(error))
        if isinstance(effect, Complete):
            return self._complete(effect, None)
        raise error

    def _ids(self, action: Mapping[str, Any]) -> MistralIds:
        task_id = action.get("task_execution_id")
        task = self._mistral.get_task(task_id) if task_id else None
        return MistralIds(
            site=self._rules.site,
            workflow_execution_id=task["workflow_execution_id"] if task else None,
            workflow_name=task["workflow_name"] if task else None,
            task_execution_id=task["id"] if task else None,
            action_execution_id=action["id"],
        )

    def _work_surplus(self, action: str) -> None:
        try:
            made = self._mistral.get_action(action)
            since = reconcile.made_at(made) if made else None
            found = self._st2.find_children(action, since)
            for first in found[:1]:
                self._children.correct(action, first["id"])
            for child in found[1:]:
                if child["status"] in states.ST2_FINAL or child["status"] == "canceling":
                    continue
                LOG.warning(
                    "Cancelling StackStorm execution %s: action execution %s has %s already.",
                    child["id"],
                    action,
                    found[0]["id"],
                )
                self._st2.cancel(child["id"])
        except St2MistralError as error:
            LOG.warning("The children of action execution %s are left for now: %s", action, error)
            # Heard of again, they are looked at again.
            self._children.forget(action)
        except Exception:
            LOG.exception("The children of action execution %s cannot be handled.", action)

    def _done(self, action_execution_id: str) -> None:
        with self._lock:
            self._under_way.discard(action_execution_id)
            room = self._turned_away and len(self._under_way) <= _WAITING // 2
            if room:
                self._turned_away = False
        if room:
            self._room()


def inputs_of(action: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs of an ``st2.action`` as Mistral has recorded them.

    :raises InputError: they are not there. Of an action that is based on it Mistral records the inputs
        of its own, and makes the others of them when it hands it to an executor.
    """
    if action["name"] != reconcile.ACTION_NAME:
        raise InputError("input", f"of {action['name']} cannot be read back: it is an ad-hoc action.")
    inputs = action.get("input")
    if isinstance(inputs, str):
        try:
            inputs = json.loads(inputs)
        except ValueError:
            inputs = None
    if not isinstance(inputs, Mapping):
        raise InputError("input", "is not in Mistral any more.")
    return inputs


def base_of(mistral: MistralClient, action_name: str) -> str:
    """As ``MistralClient.base_of``, which need not be asked for the usual name."""
    return action_name if action_name == reconcile.ACTION_NAME else mistral.base_of(action_name)
