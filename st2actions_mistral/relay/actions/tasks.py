"""Find the task of an action, and with it the action's place, from listings that many actions share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from st2actions_mistral.client.coalesce import Coalesced
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.model import states
from st2actions_mistral.model.children import mistral_ids
from st2actions_mistral.model.mistral_fields import has_items
from st2actions_mistral.model.records import claimed_workflow
from st2actions_mistral.relay.actions.place import Place

# Seconds that the state of a task, and the list of its pending items, may be old. All items of a task
# share them: a request for each of 300 items took 3 s of Mistral's processor time, of 14 s (2 cores,
# 23.0.0). A retry begins at least one second after the timeout that leads to it.
_TASK_IS_FRESH: Final = 1.0

# What a task execution is kept with.
_TASK_KEYS: Final = ("id", "state", "workflow_execution_id", "workflow_name", "runtime_context")

# Listings with a row for each action or each task that are kept.
_LARGE_ANSWERS: Final = 20

# Tasks of which the workflow is remembered, in about 3 MB.
_TASKS: Final = 20_000

# Items that are remembered as taken from a listing, in about 2 MB.
_TAKEN: Final = 20_000


class Tasks:
    """The tasks of pending actions. Safe to share between threads.

    :param lister: its listings show the records of all projects.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(self, lister: MistralClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lister = lister
        self._clock = clock
        self._lock = threading.Lock()
        self._workflow_of: dict[str, str] = {}
        # In the order in which they were taken; the values are not used.
        self._taken: dict[str, None] = {}
        # By workflow: its unfinished tasks, or all of them. By task: its pending actions.
        self._unfinished = Coalesced(self._list_unfinished, clock=clock)
        self._all = Coalesced(self._list_all, limit=_LARGE_ANSWERS, clock=clock)
        self._items = Coalesced(self._list_items, limit=_LARGE_ANSWERS, clock=clock)
        # By client and id: one task, and the state of a workflow.
        self._single = Coalesced(self._ask_task, limit=_LARGE_ANSWERS, clock=clock)
        self._workflow_states = Coalesced(_ask_workflow, clock=clock)

    def learn(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        """Remember the workflow of each task, which never changes."""
        with self._lock:
            if len(self._workflow_of) >= _TASKS:
                self._workflow_of.clear()
            for task in tasks:
                if isinstance(task.get("workflow_execution_id"), str):
                    self._workflow_of[task["id"]] = task["workflow_execution_id"]

    def workflow_of(self, task_id: str | None) -> str | None:
        """Return the workflow of a task; None if it is not known yet."""
        with self._lock:
            return self._workflow_of.get(task_id) if task_id else None

    def pending_action(self, id_: str, child: Mapping[str, Any]) -> tuple[dict[str, Any], Place] | None:
        """Observe a pending action whose child is final.

        The context of the child says which task and workflow it was created for. Anybody may have
        written it, so it only says where to look: the rows of Mistral count.

        :return: None if the action is not found in this way.
        """
        begun = self._clock()
        task_id, workflow_id = mistral_ids(child).get("task_execution_id"), claimed_workflow(child)
        if not isinstance(task_id, str) or workflow_id is None:
            return None
        task = self._unfinished.get(workflow_id, _TASK_IS_FRESH).get(task_id)
        # It may be newer than the listing.
        task = task or self._unfinished.get(workflow_id, self._clock() - begun).get(task_id)
        if task is None or task["state"] != states.RUNNING:
            return None
        if has_items(task):
            found = self._take_item(id_, task_id)
            return (found, Place.of(found, task, states.RUNNING, ())) if found else None
        # What follows must be newer than this call: Mistral takes a late result for that of the newest
        # attempt.
        task = self._unfinished.get(workflow_id, self._clock() - begun).get(task_id)
        attempts = self._lister.attempts(task_id) if task else []
        found = next((action for action in attempts if action["id"] == id_), None)
        if task is None or found is None or found["state"] != states.RUNNING:
            return None
        return found, Place.of(found, task, states.RUNNING, attempts)

    def place_of(
        self, action: Mapping[str, Any], child: Mapping[str, Any] | None, client: MistralClient
    ) -> Place | None:
        """Return the place of an action; None for one without a workflow.

        :param client: sees the records of the action's project by their ids.
        """
        task_id = action.get("task_execution_id")
        if not task_id:
            return None
        task = self.task(task_id, child, client)
        if task is None:
            # Mistral deletes a workflow with all its records.
            return Place(states.CANCELLED, states.CANCELLED)
        state: str | None = states.RUNNING
        if child is None or child["status"] not in states.ST2_FINAL:
            # A result is delivered also if the workflow is cancelled.
            state = self._workflow_states.get((client, task["workflow_execution_id"]))
        attempts = [] if has_items(task) else self._lister.attempts(task_id)
        return Place.of(action, task, state, attempts)

    def task(
        self, task_id: str, child: Mapping[str, Any] | None, client: MistralClient
    ) -> dict[str, Any] | None:
        """Return a task execution without its result, or None if there is none.

        :param client: as for :meth:`place_of`.
        """
        begun = self._clock()
        workflow_id = self.workflow_of(task_id) or claimed_workflow(child)
        if workflow_id is not None:
            task = self._unfinished.get(workflow_id, _TASK_IS_FRESH).get(task_id)
            if task is not None and not has_items(task):
                task = self._unfinished.get(workflow_id, self._clock() - begun).get(task_id)
            task = task or self._all.get(workflow_id).get(task_id)
            if task is not None:
                return task
        # The context named another workflow, or Mistral deleted the task.
        return self._single.get((client, task_id))

    def _take_item(self, id_: str, task_id: str) -> dict[str, Any] | None:
        """Return the row of a pending item, the first time only.

        After that the item is probably complete. A listing that was made while Mistral stored its
        result shows it as pending all the same.
        """
        with self._lock:
            if id_ in self._taken:
                return None
        found = self._items.get(task_id, _TASK_IS_FRESH).pop(id_, None)
        if found is not None:
            with self._lock:
                self._taken[id_] = None
                if len(self._taken) > _TAKEN:
                    del self._taken[next(iter(self._taken))]
        return found

    def _list_unfinished(self, workflow_id: str) -> dict[str, dict[str, Any]]:
        return self._known({t["id"]: t for t in self._lister.tasks_of(workflow_id, unfinished=True)})

    def _list_all(self, workflow_id: str) -> dict[str, dict[str, Any]]:
        return self._known({t["id"]: t for t in self._lister.tasks_of(workflow_id)})

    def _list_items(self, task_id: str) -> dict[str, dict[str, Any]]:
        return {a["id"]: a for a in self._lister.attempts(task_id, states.RUNNING)}

    def _ask_task(self, key: tuple[MistralClient, str]) -> dict[str, Any] | None:
        client, task_id = key
        found = client.get_task(task_id)
        if found is None:
            return None
        # Its result, which may be large, is not needed.
        task = {name: found.get(name) for name in _TASK_KEYS}
        self._known({task_id: task})
        return task

    def _known(self, tasks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        self.learn(tasks.values())
        return tasks


def _ask_workflow(key: tuple[MistralClient, str]) -> str | None:
    client, workflow_id = key
    return client.execution_state(workflow_id)
