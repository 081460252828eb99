"""Observe action executions and their children in both systems. Nothing here changes anything."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Optional

from st2actions_mistral.bridge.definitions import base_of
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.client.coalesce import Coalesced
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.mistral_fields import has_items
from st2actions_mistral.model.project import Scope, foreign, project_of
from st2actions_mistral.relay.actions.decide import Inputs, Look, Seen
from st2actions_mistral.relay.actions.index import LARGE_RESULT, Index
from st2actions_mistral.relay.actions.place import Place
from st2actions_mistral.relay.records import ACTION_NAME, claimed_workflow, created_at, mistral_context

# Seconds that the state of a task, and the list of its pending items, may be old. All items of a task
# share them: a request for each of 300 items took 3 s of Mistral's processor time, of 14 s (2 cores,
# 23.0.0). A retry begins at least one second after the timeout that leads to it.
_TASK_IS_FRESH: Final = 1.0

# Levels of executions above each other.
_MAX_DEPTH: Final = 100

# What a task execution is kept with.
_TASK_KEYS: Final = ("id", "state", "workflow_execution_id", "workflow_name", "runtime_context")

# Listings with a row for each action or each task that are kept.
_LARGE_ANSWERS: Final = 20

# Tasks of which the workflow is remembered, in about 3 MB.
_TASKS: Final = 20_000

# Seconds for which the definition of an ad-hoc action counts.
_BASE_IS_FRESH: Final = 30.0

# Seconds between two questions for Mistral's time.
_CLOCK_IS_FRESH: Final = 300.0

ParseRequest = Callable[[Mapping[str, Any], MistralIds], Optional[ExecutionRequest]]
"""Read the inputs of an action, see ``bridge.request.request_parser``."""


class ActionObserver:
    """Reads what both systems have about one action. Safe to share between threads.

    :param parse_request: how the inputs of a lost action are read.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        site: str,
        index: Index,
        *,
        parse_request: ParseRequest,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._st2 = st2
        self._mistral = mistral
        self._site = site
        self._index = index
        self._parse_request = parse_request
        self._clock = clock
        self._lock = threading.Lock()
        self._workflow_of: dict[str, str] = {}
        # By workflow: its unfinished tasks, or all of them. By task: its pending actions, or itself.
        self._tasks = Coalesced(self._list_tasks, clock=clock)
        self._all_tasks = Coalesced(self._list_all_tasks, limit=_LARGE_ANSWERS, clock=clock)
        self._items = Coalesced(self._list_items, limit=_LARGE_ANSWERS, clock=clock)
        self._single_tasks = Coalesced(self._ask_task, limit=_LARGE_ANSWERS, clock=clock)
        self._workflow_states = Coalesced(mistral.execution_state, clock=clock)
        self._bases = Coalesced(self._ask_base, clock=clock)
        self._mistral_time = Coalesced(self._ask_time, clock=clock)

    def observe(
        self,
        action_execution_id: str,
        execution_id: str | None = None,
        *,
        child: Mapping[str, Any] | None = None,
    ) -> Seen:
        """Observe one action and its child.

        :param execution_id: the child; None: as the index has it.
        :param child: the whole execution if it is known already. Otherwise it is fetched, without its
            result if that is larger than :data:`LARGE_RESULT`.
        """
        id_ = action_execution_id
        if child is None:
            execution_id = execution_id or self._index.child_of(id_)
            child = self._index.take_result(id_)
            if child is not None and execution_id not in (None, child["id"]):
                # It is the result of a duplicate.
                child = None
            if child is None and execution_id is not None:
                child = self._st2.get_execution(execution_id, max_result_size=LARGE_RESULT)
        action, place = self._action_and_place(id_, child)
        vanished = execution_id if child is None else None
        if child is not None:
            self._index.mark_found(id_)
        return Seen(
            action,
            base=self.base(action["name"]) if action else None,
            place=place,
            child=child,
            vanished=vanished,
            age=0 if child is not None else self._age(id_, action, vanished),
            was_pending=self._index.was_pending(id_),
            is_first=child is not None and self._index.is_first(id_, child["id"]),
            scope=self.scope(),
        )

    def look(self, seen: Seen, look: Look) -> Seen:
        """Observe what a decision asks for.

        :return: what is seen then. It replaces ``seen``.
        """
        assert seen.action is not None
        if look is Look.INPUTS:
            return replace(seen, inputs=self._inputs(seen.action["id"]))
        if look is Look.CHILDREN:
            return self._with_first_child(seen)
        assert seen.child is not None
        if look is Look.ROOT:
            return replace(seen, root=self._root_of(seen.child), root_observed=True)
        whole = self._st2.get_execution(seen.child["id"])
        # While the result waited for its turn, its action may have been given up.
        found = self.observe(seen.action["id"], seen.child["id"], child=whole)
        return replace(
            found,
            whole=True,
            is_first=found.is_first or seen.is_first,
            children=seen.children,
            retries_exhausted=seen.retries_exhausted,
        )

    def _root_of(self, child: Mapping[str, Any]) -> dict[str, Any] | None:
        found = None
        for _ in range(_MAX_DEPTH):
            above = (found or child).get("parent")
            execution = self._st2.get_execution(above, max_result_size=1) if above else None
            if execution is None:
                break
            found = execution
        return found

    def find_children(self, action: Mapping[str, Any] | None, id_: str) -> list[dict[str, Any]]:
        """Return all children of an action, the first one first, and let the index know it."""
        since = created_at(action) if action else None
        found = self._st2.find_children(id_, self._site, since)
        for child in found[:1]:
            self._index.set_first(id_, child["id"])
        return found

    def base(self, action_name: str) -> str:
        """Return the name of the action that does the work, see ``bridge.definitions.base_of``."""
        return (
            action_name if action_name == ACTION_NAME else self._bases.get(action_name, _BASE_IS_FRESH)
        )

    def scope(self) -> Scope | None:
        """Return the project of the relay's token; None where Mistral has no authentication."""
        return self._mistral.scope()

    def now(self) -> datetime:
        """Return Mistral's time. The clock of this host may differ."""
        return self._mistral_time.get(None, _CLOCK_IS_FRESH) + timedelta(seconds=self._clock())

    def learn_tasks(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        """Remember the workflow of each task, which never changes."""
        with self._lock:
            if len(self._workflow_of) >= _TASKS:
                self._workflow_of.clear()
            for task in tasks:
                if isinstance(task.get("workflow_execution_id"), str):
                    self._workflow_of[task["id"]] = task["workflow_execution_id"]

    def _action_and_place(
        self, id_: str, child: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any] | None, Place | None]:
        """Observe the action itself, and where in its workflow it is."""
        if child is not None and child["status"] in states.ST2_FINAL:
            found = self._from_listings(id_, child)
            if found is not None:
                return found
        action = self._mistral.find_action(id_)
        if action is None or action["state"] != states.RUNNING or foreign(action, self.scope()):
            return action, None
        return action, self._place(action, child)

    def _from_listings(self, id_: str, child: Mapping[str, Any]) -> tuple[dict[str, Any], Place] | None:
        """Observe a pending action whose child is final from listings that many actions share.

        The context of the child says which task and workflow it was created for. Anybody may have
        written it, so it only says where to look: the rows of Mistral count.

        :return: None if the action is not found in this way.
        """
        begun = self._clock()
        task_id, workflow_id = mistral_context(child).get("task_execution_id"), claimed_workflow(child)
        if not isinstance(task_id, str) or workflow_id is None:
            return None
        task = self._tasks.get(workflow_id, _TASK_IS_FRESH).get(task_id)
        # It may be newer than the listing.
        task = task or self._tasks.get(workflow_id, self._clock() - begun).get(task_id)
        if task is None or task["state"] != states.RUNNING:
            return None
        if has_items(task):
            # Each row is used once: after that, the item is probably complete.
            found = self._items.get(task_id, _TASK_IS_FRESH).pop(id_, None)
            return (found, Place.of(found, task, states.RUNNING, ())) if found else None
        # What follows must be newer than this call: Mistral takes a late result for that of the newest
        # attempt.
        task = self._tasks.get(workflow_id, self._clock() - begun).get(task_id)
        attempts = self._mistral.attempts(task_id) if task else []
        found = next((action for action in attempts if action["id"] == id_), None)
        if task is None or found is None or found["state"] != states.RUNNING:
            return None
        return found, Place.of(found, task, states.RUNNING, attempts)

    def _place(self, action: Mapping[str, Any], child: Mapping[str, Any] | None) -> Place | None:
        task_id = action.get("task_execution_id")
        if not task_id:
            return None
        task = self._task(task_id, child)
        if task is None:
            # Mistral deletes a workflow with all its records.
            return Place(states.CANCELLED, states.CANCELLED)
        state: str | None = states.RUNNING
        if child is None or child["status"] not in states.ST2_FINAL:
            # A result is delivered also if the workflow is cancelled.
            state = self._workflow_states.get(task["workflow_execution_id"])
        attempts = [] if has_items(task) else self._mistral.attempts(task_id)
        return Place.of(action, task, state, attempts)

    def _task(self, task_id: str, child: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return a task execution without its result, or None if there is none."""
        begun = self._clock()
        workflow_id = self._workflow_of.get(task_id) or claimed_workflow(child)
        if workflow_id is not None:
            task = self._tasks.get(workflow_id, _TASK_IS_FRESH).get(task_id)
            if task is not None and not has_items(task):
                task = self._tasks.get(workflow_id, self._clock() - begun).get(task_id)
            task = task or self._all_tasks.get(workflow_id).get(task_id)
            if task is not None:
                return task
        # The context named another workflow, or Mistral deleted the task.
        return self._single_tasks.get(task_id)

    def _age(self, id_: str, action: Mapping[str, Any] | None, vanished: str | None) -> float:
        if vanished is not None:
            return self._index.missing_for(id_)
        return (self.now() - created_at(action)).total_seconds() if action else 0

    def _inputs(self, id_: str) -> Inputs:
        action = self._mistral.get_action(id_)
        try:
            if action is None:
                raise InputError("input", "is not in Mistral any more.")
            return Inputs(self._parse_request(inputs_of(action), self._ids(action)))
        except InputError as error:
            return Inputs(error=error)

    def _ids(self, action: Mapping[str, Any]) -> MistralIds:
        """Return the ids that the action itself would have sent to StackStorm."""
        task_id = action.get("task_execution_id")
        task = self._task(task_id, None) if task_id else None
        return MistralIds(
            site=self._site,
            workflow_execution_id=task["workflow_execution_id"] if task else None,
            workflow_name=task["workflow_name"] if task else None,
            task_execution_id=task["id"] if task else None,
            action_execution_id=action["id"],
            project_id=project_of(action),
        )

    def _with_first_child(self, seen: Seen) -> Seen:
        assert seen.action is not None
        found = self.find_children(seen.action, seen.action["id"])
        known = seen.child["id"] if seen.child else None
        if not found or found[0]["id"] == known:
            return replace(seen, children=len(found))
        again = self.observe(seen.action["id"], found[0]["id"])
        return replace(
            again,
            children=len(found),
            inputs=seen.inputs,
            rejection=seen.rejection,
            retries_exhausted=seen.retries_exhausted,
        )

    def _list_tasks(self, workflow_id: str) -> dict[str, dict[str, Any]]:
        return self._known({t["id"]: t for t in self._mistral.tasks_of(workflow_id, unfinished=True)})

    def _list_all_tasks(self, workflow_id: str) -> dict[str, dict[str, Any]]:
        return self._known({t["id"]: t for t in self._mistral.tasks_of(workflow_id)})

    def _ask_task(self, task_id: str) -> dict[str, Any] | None:
        found = self._mistral.get_task(task_id)
        if found is None:
            return None
        # Its result, which may be large, is not needed.
        task = {name: found.get(name) for name in _TASK_KEYS}
        self._known({task_id: task})
        return task

    def _list_items(self, task_id: str) -> dict[str, dict[str, Any]]:
        return {a["id"]: a for a in self._mistral.attempts(task_id, states.RUNNING)}

    def _ask_base(self, action_name: str) -> str:
        return base_of(self._mistral, action_name)

    def _ask_time(self, _: None) -> datetime:
        now = self._mistral.clock() or datetime.now(timezone.utc)
        return now - timedelta(seconds=self._clock())

    def _known(self, tasks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        self.learn_tasks(tasks.values())
        return tasks


def inputs_of(action: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the inputs of an ``st2.action`` as Mistral recorded them.

    :raises InputError: they are unknown. Of an ad-hoc action Mistral records the inputs of the ad-hoc
        action itself, and computes those of its base when it hands it to an executor.
    """
    if action["name"] != ACTION_NAME:
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
