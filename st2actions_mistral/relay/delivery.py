"""Level actions and their children: bring results to Mistral, cancel what Mistral gave up, schedule
what an executor lost. Many at once, each once."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from st2actions_mistral.bridge.complete_action import complete_action
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import Answered, InputError, OutcomeUnknown, St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.project import foreign
from st2actions_mistral.model.result import is_omitted
from st2actions_mistral.relay import reconcile
from st2actions_mistral.relay.backoff import Backoff
from st2actions_mistral.relay.children import Children
from st2actions_mistral.relay.foreign import ForeignProjects
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.reconcile import Adopt, Cancel, Complete, Leave, Refuse, Seen
from st2actions_mistral.relay.view import LARGE_RESULT, View

LOG: Final = logging.getLogger(__name__)

# Actions that wait for a worker. What is above is left to the next sweep, so that a burst takes
# neither memory without bound nor the place of what comes after it.
_WAITING: Final = 2000

# Whole results that wait, for each worker. StackStorm's may have 16 MB; the others are fetched again.
_WHOLE: Final = 2

# Failures of an action after which what is sent, and no longer the moment, is taken to be the reason:
# each takes some seconds, and the pauses between them double.
_TRIES: Final = 3

Requested = Callable[[Mapping[str, Any], MistralIds], ExecutionRequest | None]
"""Read the inputs of a lost action, see ``bridge.request.request_parser``."""


@dataclass(frozen=True)
class _Job:
    action: str
    execution: str | None = None
    child: Mapping[str, Any] | None = None
    age: float = 0
    waited: bool = False


class Delivery:
    """Levels actions. One action is worked on by one worker at a time; different ones side by side.

    :param requested: how a lost action is read.
    :param room: called once there is room again, after something had to be turned away.
    :param delivered: called with each child whose action is complete.
    """

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        settings: RelaySettings,
        view: View,
        children: Children,
        *,
        requested: Requested,
        metrics: Metrics,
        projects: ForeignProjects | None = None,
        room: Callable[[], None] = lambda: None,
        delivered: Callable[[Mapping[str, Any]], None] = lambda child: None,
    ) -> None:
        self._st2 = st2
        self._mistral = mistral
        self._view = view
        self._rules = rules(settings)
        self._metrics = metrics
        self._children = children
        self._requested = requested
        self._room = room
        self._delivered = delivered
        self._projects = projects or ForeignProjects()
        self._workers = settings.workers
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="deliver")
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._again: dict[str, _Job] = {}
        self._surplus: set[str] = set()
        self._final_since: dict[str, float] = {}
        self._turned_away = False
        self._one_large = threading.Lock()
        self._doubled = Backoff()
        self.backoff = Backoff()

    def offer(
        self,
        action_execution_id: str,
        execution_id: str | None = None,
        *,
        child: Mapping[str, Any] | None = None,
        age: float = 0,
        waited: bool = False,
    ) -> Future[bool] | None:
        """Have an action and its child looked at, unless that is under way.

        :param execution_id: its child, as far as it is known.
        :param child: the whole execution where it is at hand; else it is fetched.
        :param age: seconds since the action was made, or since its child was missed.
        :param waited: whether the action was seen waiting before.
        :return: a future of whether something was done, None where nothing was begun.
        """
        if not self.backoff.is_due(action_execution_id):
            return None
        if child is not None and (child.get("result_size") or 0) > LARGE_RESULT:
            child = None
        job = _Job(action_execution_id, execution_id, child, age, waited)
        with self._lock:
            if action_execution_id in self._under_way:
                # What is offered now may be news to who looked before it happened.
                self._again[action_execution_id] = replace(job, child=None)
                return None
            if len(self._under_way) >= _WAITING:
                self._turned_away = True
                return None
            if len(self._under_way) >= self._workers * _WHOLE:
                job = replace(job, child=None)
            self._under_way.add(action_execution_id)
        try:
            return self._pool.submit(self._work, job)
        except RuntimeError:
            # The pool is closed: the relay is about to end, and its successor sweeps.
            self._done(action_execution_id)
            return None

    def offer_surplus(self, action_execution_id: str) -> None:
        """Have all children of an action but the first cancelled."""
        if not self._doubled.is_due(action_execution_id):
            return
        with self._lock:
            if action_execution_id in self._surplus or len(self._surplus) >= _WAITING:
                return
            self._surplus.add(action_execution_id)
        try:
            self._pool.submit(self._work_surplus, action_execution_id)
        except RuntimeError:
            LOG.debug("Action execution %s is left to the next relay.", action_execution_id)

    def close(self) -> None:
        """Finish what a worker has begun, forget what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, job: _Job) -> bool:
        try:
            done, _ = self._settle(job, self._rules)
            self.backoff.succeeded(job.action)
            return done
        except St2MistralError as error:
            reason = error.log_text()
            LOG.warning("Action execution %s is left as it is for now: %s", job.action, reason)
        except Exception as error:
            reason = type(error).__name__
            LOG.exception("Action execution %s cannot be handled.", job.action)
        finally:
            self._done(job.action)
        self.backoff.failed(job.action, reason)
        self._metrics.retried.inc()
        return False

    def _settle(self, job: _Job, rules: reconcile.Rules) -> tuple[bool, reconcile.Effect]:
        seen = self._view.look(
            job.action, job.execution, child=job.child, age=job.age, waited=job.waited
        )
        if seen.child is not None and seen.child["status"] in states.ST2_FINAL:
            with self._lock:
                self._final_since.setdefault(job.action, time.monotonic())
        effect = reconcile.settle(seen, rules)
        if isinstance(effect, Adopt | Complete):
            if seen.child is not None:
                seen, effect = self._of_the_first(seen, seen.child, effect, rules)
            elif not seen.vanished:
                seen, effect = self._make_sure(seen, effect, rules)
        if isinstance(effect, Complete) and seen.child is not None and is_omitted(seen.child):
            with self._one_large:
                done = self._complete_whole(job.action, seen.child["id"], rules)
        else:
            done = self._apply(effect, seen)
        with self._lock:
            self._final_since.pop(job.action, None)
        if seen.action is None or seen.action["state"] != states.RUNNING:
            self._children.forget(job.action)
        return done, effect

    def _complete_whole(self, action: str, execution: str, rules: reconcile.Rules) -> bool:
        """Deliver a large result: with what has been left out, as far as it can be read at all."""
        whole = self._st2.get_execution(execution)
        if whole is None:
            return False
        # It may have waited for its turn while its action was given up.
        seen = self._view.look(action, child=whole)
        return self._apply(reconcile.settle(seen, rules), seen)

    def _make_sure(
        self, seen: Seen, effect: reconcile.Effect, rules: reconcile.Rules
    ) -> tuple[Seen, reconcile.Effect]:
        """Look closer before something follows from a child that is not there.

        It may have been made since StackStorm was asked, or have slipped through the pages of its
        answer; and that of another StackStorm is not in it at all.
        """
        action = seen.action
        assert action is not None
        try:
            if self._requested(inputs_of(action), self._view.ids(action)) is None:
                return seen, Leave("it is for another StackStorm")
        except InputError:
            LOG.debug("Action execution %s cannot be read.", action["id"])
        first = self._first_child(action)
        if first is None:
            return seen, effect
        seen = self._view.look(action["id"], first)
        return seen, reconcile.settle(seen, rules)

    def _of_the_first(
        self, seen: Seen, child: Mapping[str, Any], effect: reconcile.Effect, rules: reconcile.Rules
    ) -> tuple[Seen, reconcile.Effect]:
        """Look whether a child is the first one before its end becomes that of its action.

        Whoever heard of it may not have heard of all: then only a listing tells. And a cancelled child
        may be one that another relay saw to be one too many.
        """
        action = seen.action
        assert action is not None
        if child["status"] != states.ST2_CANCELED and self._children.is_first(
            action["id"], child["id"]
        ):
            return seen, effect
        first = self._first_child(action)
        if first in (None, child["id"]):
            return seen, effect
        seen = self._view.look(action["id"], first)
        return seen, reconcile.settle(seen, rules)

    def _first_child(self, action: Mapping[str, Any]) -> str | None:
        """The first child that was made for an action; the others are seen to."""
        found = self._st2.find_children(action["id"], self._rules.site, reconcile.made_at(action))
        for child in found[:1]:
            self._children.listed(action["id"], child["id"])
        if len(found) > 1:
            self.offer_surplus(action["id"])
        return found[0]["id"] if found else None

    def settle_now(self, action_execution_id: str, execution_id: str | None) -> reconcile.Effect:
        """Settle one action as if it had waited long enough for anything.

        :return: what was done about it.
        :raises St2MistralError: it could not be.
        """
        job = _Job(action_execution_id, execution_id, age=float("inf"))
        return self._settle(job, self._rules)[1]

    def is_well(self, action_execution_id: str) -> None:
        """An action was seen to have a child at work: what failed before is over."""
        self.backoff.succeeded(action_execution_id)

    def lag(self) -> float:
        """Seconds since the first of the results was seen that are not in Mistral yet."""
        now = time.monotonic()
        with self._lock:
            return now - min(self._final_since.values(), default=now)

    def keep(self, actions: Collection[str]) -> None:
        """Forget the failures of all other actions, and look again at the children that could not be
        cancelled for being one too many: of those the end of their action says nothing."""
        self.backoff.keep(actions)
        for action in self._doubled.failing():
            self.offer_surplus(action)
        with self._lock:
            for action in self._final_since.keys() - set(actions):
                del self._final_since[action]

    def _apply(self, effect: reconcile.Effect, seen: Seen) -> bool:
        if isinstance(effect, Complete):
            return self._complete(effect, seen.child)
        if isinstance(effect, Cancel):
            LOG.info("Cancelling StackStorm execution %s: %s.", effect.execution_id, effect.reason)
            cancelled = self._st2.cancel(effect.execution_id)
            self._metrics.cancelled.inc()
            return cancelled
        if isinstance(effect, Adopt):
            return self._adopt(seen)
        if isinstance(effect, Refuse):
            assert seen.action is not None
            self._projects.report(effect.foreign, f"action execution {seen.action['id']}")
            return False
        if seen.action is not None:
            LOG.debug("Action execution %s: %s.", seen.action["id"], effect.reason)
        return False

    def _complete(self, effect: Complete, child: Mapping[str, Any] | None) -> bool:
        action = effect.action_execution_id
        delivered = complete_action(
            self._mistral,
            action,
            effect.state,
            effect.output,
            retries_exhausted=self._tried_enough(action),
        )
        # Else it would be looked at again once Mistral does not list it any more.
        self._children.forget(action)
        if child is None and delivered:
            self._metrics.lost.inc()
            LOG.warning(
                "Closed: action execution %s %s, without an execution in StackStorm: see its output.",
                action,
                effect.state,
            )
        elif child is None:
            LOG.info("Action execution %s was complete before it was closed.", action)
        elif delivered:
            self._metrics.delivered.inc()
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
        if child is not None:
            self._delivered(child)
        return delivered

    def _adopt(self, seen: Seen) -> bool:
        """Schedule what was never scheduled, from Mistral's own record."""
        action = seen.action
        assert action is not None
        try:
            request = self._requested(inputs_of(action), self._view.ids(action))
            assert request is not None, "seen to be ours by _make_sure"
            made = schedule(self._st2, request, lookup_first_after=0, since=reconcile.made_at(action))
        except InputError as error:
            return self._refuse(seen, error)
        except (Answered, OutcomeUnknown) as error:
            if not self._is_refused(action, error):
                # It is us who are not let in, or this moment, not this action.
                raise
            return self._refuse(seen, error)
        if not self._children.note(action["id"], made["id"]):
            self.offer_surplus(action["id"])
        self._metrics.adopted.inc()
        LOG.warning(
            "Adopted: StackStorm execution %s (%s) runs for action execution %s, which had none for"
            " %.0f s.",
            made["id"],
            request.ref,
            action["id"],
            seen.age,
        )
        return True

    def _is_refused(self, action: Mapping[str, Any], error: Answered | OutcomeUnknown) -> bool:
        """Whether StackStorm does not take the child of a lost action, now or later."""
        if not (error.method == "POST" and error.url.endswith("/executions")):
            return False
        if isinstance(error, Answered):
            return error.is_permanent
        # StackStorm answers 500 to some of what it does not take, and where it has made it after all.
        if error.status != 500 or not self._tried_enough(action["id"]):
            return False
        return self._first_child(action) is None

    def _tried_enough(self, action: str) -> bool:
        failure = self.backoff.failing().get(action)
        return failure is not None and failure.times >= _TRIES

    def _refuse(self, seen: Seen, error: InputError | Answered | OutcomeUnknown) -> bool:
        effect = reconcile.refused(seen, self._rules, str(error))
        if isinstance(effect, Complete):
            return self._complete(effect, None)
        raise error

    def _work_surplus(self, action: str) -> None:
        try:
            made = self._mistral.get_action(action)
            if (other := foreign(made or {}, self._mistral.scope())) is not None:
                self._projects.report(other, f"action execution {action}")
                return
            since = reconcile.made_at(made) if made else None
            found = self._st2.find_children(action, self._rules.site, since)
            for first in found[:1]:
                self._children.listed(action, first["id"])
            for child in found[1:]:
                if child["status"] in states.ST2_ENDING:
                    continue
                LOG.warning(
                    "Cancelling StackStorm execution %s: action execution %s has %s already.",
                    child["id"],
                    action,
                    found[0]["id"],
                )
                self._st2.cancel(child["id"])
                self._metrics.duplicates.inc()
        except St2MistralError as error:
            LOG.warning(
                "The children of action execution %s are left for now: %s", action, error.log_text()
            )
            self._doubled.failed(action)
        except Exception:
            LOG.exception("The children of action execution %s cannot be handled.", action)
            self._doubled.failed(action)
        else:
            self._doubled.succeeded(action)
        finally:
            with self._lock:
                self._surplus.discard(action)

    def _done(self, action_execution_id: str) -> None:
        with self._lock:
            self._under_way.discard(action_execution_id)
            again = self._again.pop(action_execution_id, None)
            room = self._turned_away and len(self._under_way) <= _WAITING // 2
            if room:
                self._turned_away = False
        if room:
            self._room()
        if again is not None:
            self.offer(again.action, again.execution, age=again.age, waited=again.waited)


def rules(settings: RelaySettings) -> reconcile.Rules:
    """What the options say of the decisions."""
    return reconcile.Rules(
        site=settings.site,
        limit_kb=settings.field_size_limit_kb,
        reschedule_after=settings.reschedule_after,
        lost_after=settings.lost_after,
        cancel_orphans=settings.cancel_orphans,
    )


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
