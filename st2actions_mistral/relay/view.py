"""What both systems say of actions and their children, asked anew each time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, TypeVar

from st2actions_mistral.bridge.definitions import base_of
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.project import foreign
from st2actions_mistral.model.workflow import has_items
from st2actions_mistral.relay import reconcile
from st2actions_mistral.relay.foreign import ForeignProjects
from st2actions_mistral.relay.reconcile import Place, Seen

LOG: Final = logging.getLogger(__name__)

# Seconds for which a task is taken to be as it was: the items of a with-items share it.
_TASK_IS_FRESH: Final = 1.0

# Tasks that are remembered for so long.
_TASKS: Final = 2000

# Bytes. A result that is larger is fetched when it is needed, and one at a time: with one of some 15 MB
# of small objects the relay grows to 370 MiB (docs/guarantees.md).
LARGE_RESULT: Final = 1024 * 1024

Row = TypeVar("Row")


def alively(rows: Iterable[Row], alive: Callable[[], None]) -> Iterator[Row]:
    """The rows of a listing, with a sign of life for each: its pages may take long."""
    for row in rows:
        alive()
        yield row
    alive()


@dataclass(frozen=True)
class Listed:
    """Children as StackStorm lists them."""

    first: Mapping[str, Mapping[str, Any]]
    """``id`` and ``status`` of the first child that was made, by action."""
    doubled: Collection[str]
    """The actions that have more than one."""
    others: Mapping[str, str]
    """The child of each other action that has one at work."""


class View:
    """Reads, changes nothing. Safe to share between threads."""

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        site: str,
        *,
        alive: Callable[[], None] = lambda: None,
        projects: ForeignProjects | None = None,
    ) -> None:
        """:param alive: called for each row of a listing, of which there may be many.
        :param projects: is told of the actions of other projects.
        """
        self._st2 = st2
        self._mistral = mistral
        self._site = site
        self._alive = alive
        self._projects = projects or ForeignProjects()
        self._lock = threading.Lock()
        self._tasks: dict[str, tuple[float, dict[str, Any]]] = {}

    def waiting(self) -> dict[str, dict[str, Any]]:
        """Return the pending actions that the relay may complete, by id.

        Those of other projects are reported and left out.
        """
        scope = self._mistral.scope()
        found: dict[str, dict[str, Any]] = {}
        for id_, action in self.all_waiting().items():
            if (other := foreign(action, scope)) is None:
                found[id_] = action
            else:
                self._projects.report(other, f"action execution {id_}")
        return found

    def all_waiting(self) -> dict[str, dict[str, Any]]:
        """Return the pending actions of all projects that Mistral shows, by id.

        For the shape of a row see ``MistralClient.running_actions``.
        """
        running = [a for a in alively(self._mistral.running_actions(), self._alive) if _is_whole(a)]
        names = {str(action["name"]) for action in running}
        ours = {name for name in names if self._base(name) == reconcile.ACTION_NAME}
        return {action["id"]: action for action in running if action["name"] in ours}

    def given_up(self, waiting: Collection[Mapping[str, Any]]) -> set[str]:
        """The actions that nobody waits for any more, as it seems; :meth:`look` looks closer."""
        unfinished = alively(self._mistral.unfinished_tasks(), self._alive)
        at_work = {task["id"]: task for task in unfinished}
        of_task: dict[str, list[Mapping[str, Any]]] = {}
        for action in waiting:
            if action.get("task_execution_id"):
                of_task.setdefault(action["task_execution_id"], []).append(action)
        workflow_of: dict[str, str] = {}
        for id_ in of_task.keys() & at_work:
            workflow = at_work[id_].get("workflow_execution_id")
            if isinstance(workflow, str):
                workflow_of[id_] = workflow
            else:
                LOG.warning("Task execution %s is passed over: Mistral shows no workflow of it.", id_)
                del of_task[id_]
        cancelled = self._mistral.cancelled_among(set(workflow_of.values()))
        found: set[str] = set()
        for id_, actions in of_task.items():
            task = at_work.get(id_)
            if task is None or workflow_of[id_] in cancelled:
                found.update(action["id"] for action in actions)
            elif len(actions) > 1 and not has_items(task):
                newest = max(str(action["created_at"]) for action in actions)
                found.update(a["id"] for a in actions if str(a["created_at"]) < newest)
        return found

    def children(self, wanted: Mapping[str, Mapping[str, Any]], *, others: bool = False) -> Listed:
        """The children of these actions.

        :param wanted: as :meth:`waiting` gives them.
        :param others: ask for those of other actions also where none is wanted: what began in the
            last day.
        """
        found: dict[str, dict[str, Any]] = {}
        doubled: set[str] = set()
        at_work: dict[str, str] = {}
        if wanted or others:
            since = reconcile.oldest(wanted.values()) if wanted else datetime.now(timezone.utc)
            for child in alively(self._st2.children_since(self._site, since), self._alive):
                action = reconcile.action_of(child, self._site)
                if action is None:
                    continue
                if action not in wanted:
                    if child["status"] not in states.ST2_FINAL:
                        at_work[action] = child["id"]
                    continue
                # The newest come first.
                if found.get(action, child)["id"] != child["id"]:
                    doubled.add(action)
                found[action] = child
        return Listed(found, doubled, at_work)

    def look(
        self,
        action_execution_id: str,
        execution_id: str | None = None,
        *,
        child: Mapping[str, Any] | None = None,
        age: float = 0,
        waited: bool = False,
    ) -> Seen:
        """One action and its child.

        :param execution_id: the child, as far as it is known.
        :param child: the whole execution where it is at hand; else it is fetched, without its result
            where that is larger than :data:`LARGE_RESULT`.
        :param age: see :class:`Seen`, as ``waited``.
        """
        action = self._mistral.get_action(action_execution_id)
        if child is None and execution_id is not None:
            child = self._st2.get_execution(execution_id, max_result_size=LARGE_RESULT)
        base = self._base(action["name"]) if action else None
        scope = self._mistral.scope()
        if action is None or action["state"] != states.RUNNING or foreign(action, scope):
            return Seen(action, base=base, child=child, waited=waited, scope=scope)
        return Seen(
            action,
            base=base,
            place=self._place(action, child),
            child=child,
            vanished=execution_id if child is None else None,
            age=age,
            scope=scope,
        )

    def ids(self, action: Mapping[str, Any]) -> MistralIds:
        """Where in Mistral an action is, as the action itself would have told StackStorm."""
        task_id = action.get("task_execution_id")
        task = self._mistral.get_task(task_id) if task_id else None
        return MistralIds(
            site=self._site,
            workflow_execution_id=task["workflow_execution_id"] if task else None,
            workflow_name=task["workflow_name"] if task else None,
            task_execution_id=task["id"] if task else None,
            action_execution_id=action["id"],
        )

    def _place(self, action: Mapping[str, Any], child: Mapping[str, Any] | None) -> Place | None:
        task_id = action.get("task_execution_id")
        if not task_id:
            return None
        task = self._task(task_id)
        if task is None:
            # Mistral deletes a workflow with all that it has.
            return Place(states.CANCELLED, states.CANCELLED)
        workflow: dict[str, Any] | None = {"state": states.RUNNING}
        if child is None or child["status"] not in states.ST2_FINAL:
            # A result goes home whether the workflow is cancelled or not; else it matters.
            workflow = self._mistral.get_execution(task["workflow_execution_id"])
        attempts = [] if has_items(task) else self._mistral.attempts(task["id"])
        return Place.of(action, task, workflow, attempts)

    def _task(self, task_id: str) -> dict[str, Any] | None:
        now = time.monotonic()
        with self._lock:
            seen, known = self._tasks.get(task_id, (-_TASK_IS_FRESH, None))
        if known is not None and now - seen < _TASK_IS_FRESH:
            return known
        task = self._mistral.get_task(task_id)
        # Only with items are there others that ask for it too, and no attempts to tell apart.
        if task is not None and has_items(task):
            with self._lock:
                if len(self._tasks) >= _TASKS:
                    self._tasks.clear()
                self._tasks[task_id] = (now, task)
        return task

    def _base(self, action_name: str) -> str:
        """As ``bridge.definitions.base_of``, which need not be asked for the usual name."""
        usual = action_name == reconcile.ACTION_NAME
        return action_name if usual else base_of(self._mistral, action_name)


def _is_whole(action: Mapping[str, Any]) -> bool:
    """Whether a row has what a comparison needs; one that has not must not end it for the others."""
    try:
        reconcile.made_at(action)
        whole = isinstance(action["name"], str)
    except (KeyError, ValueError):
        whole = False
    if not whole:
        LOG.warning(
            "Action execution %s is passed over: Mistral shows no name of it, or no time.", action["id"]
        )
    return whole
