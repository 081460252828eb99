"""Remember the projects of Mistral's records, and the trusts that child executions name."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from st2actions_mistral.model.project import owner_of
from st2actions_mistral.model.records import claimed_trust, claimed_workflow

# Records that are remembered, in about 10 MB: twice the pending actions of docs/operate/sizing.md, and
# as many workflows.
_LIMIT: Final = 40_000

_Value = TypeVar("_Value")


class _Bounded(Generic[_Value]):
    """A dict that forgets the entries that were set first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[str, _Value] = {}

    def set(self, key: str, value: _Value) -> None:
        self._values.pop(key, None)
        if len(self._values) >= self._limit:
            del self._values[next(iter(self._values))]
        self._values[key] = value

    def get(self, key: str) -> _Value | None:
        return self._values.get(key)


class Hints:
    """The project, the task and the trust of a record, unchecked. Safe to share between threads.

    :param limit: records that are remembered.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._lock = threading.Lock()
        self._projects: _Bounded[str] = _Bounded(limit)
        self._tasks: _Bounded[str] = _Bounded(limit)
        self._trusts: _Bounded[str] = _Bounded(limit)
        self._of_workflow: _Bounded[str] = _Bounded(limit)

    def learn_records(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Remember the projects of records, and the tasks of actions. They never change.

        :param rows: as Mistral shows them.
        """
        with self._lock:
            for row in rows:
                project_id, task_id = owner_of(row), row.get("task_execution_id")
                if project_id is not None:
                    self._projects.set(row["id"], project_id)
                if isinstance(task_id, str):
                    self._tasks.set(row["id"], task_id)

    def learn_child(self, action_execution_id: str, child: Mapping[str, Any]) -> None:
        """Remember the trust in the context of an action's child, also for its whole workflow."""
        trust_id, workflow_id = claimed_trust(child), claimed_workflow(child)
        if trust_id is None:
            return
        with self._lock:
            self._trusts.set(action_execution_id, trust_id)
            if workflow_id is not None:
                self._of_workflow.set(workflow_id, trust_id)

    def project_of(self, id_: str) -> str | None:
        """Return the project of a record; None if Mistral has not shown it yet."""
        with self._lock:
            return self._projects.get(id_)

    def task_of(self, action_execution_id: str) -> str | None:
        """Return the task of an action; None if Mistral has not shown it yet, or it has none."""
        with self._lock:
            return self._tasks.get(action_execution_id)

    def trust_of(self, action_execution_id: str) -> str | None:
        """Return the trust that the child of an action names; None if it names none."""
        with self._lock:
            return self._trusts.get(action_execution_id)

    def trust_of_workflow(self, workflow_execution_id: str | None) -> str | None:
        """Return a trust that another child of the same workflow names; None if none does."""
        with self._lock:
            return self._of_workflow.get(workflow_execution_id) if workflow_execution_id else None
