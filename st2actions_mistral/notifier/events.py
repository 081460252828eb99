"""Read Mistral's events, and make of them what a trigger in StackStorm gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from st2actions_mistral.model import json_values
from st2actions_mistral.model.notifications import ENDS, PAUSED, RESUMED
from st2actions_mistral.model.project import project_of
from st2actions_mistral.model.tracebacks import without_tracebacks

WORKFLOW: Final = "workflow"
TASK: Final = "task"

# Characters of a failure's reason, which may quote a result.
_STATE_INFO: Final = 500

# Events after which the parent execution of a workflow may have to change.
_FOR_PARENTS: Final = ENDS | {PAUSED, RESUMED}

# Events with which the environment of a workflow may change, and with it the parent that it names.
_OF_NEW_ENVIRONMENT: Final = frozenset({RESUMED, "WORKFLOW_RERUN"})


@dataclass(frozen=True)
class Event:
    """One event of a workflow or a task."""

    name: str
    """Mistral's name, such as "WORKFLOW_FAILED"."""
    kind: str
    """:data:`WORKFLOW` or :data:`TASK`."""
    workflow_execution_id: str
    root_execution_id: str | None
    """The outermost workflow, if this one is a sub-workflow; None for a task, where Mistral does not
    tell."""
    project_id: str | None
    """The OpenStack project; None without keystone."""
    data: Mapping[str, Any] = field(repr=False)
    """All that Mistral tells."""

    @classmethod
    def of(cls, name: object, data: Mapping[str, Any]) -> Event | None:
        """Return the event that Mistral publishes; None for a change of state that is no event.

        :param data: of the workflow or task execution, see Mistral's ``_notify``.
        """
        if not isinstance(name, str):
            return None
        kind = TASK if "workflow_execution_id" in data else WORKFLOW
        id_ = data.get("workflow_execution_id" if kind == TASK else "id")
        if not isinstance(id_, str):
            return None
        root = data.get("root_execution_id")
        return cls(name, kind, id_, root if isinstance(root, str) else None, project_of(data), data)

    @property
    def concerns_parent(self) -> bool:
        """True if the parent execution of the workflow may have to change."""
        is_root = self.kind == WORKFLOW and self.root_execution_id is None
        return is_root and self.name in _FOR_PARENTS

    @property
    def may_change_parent(self) -> bool:
        """True if the workflow may name another parent execution from now on."""
        return self.name in _OF_NEW_ENVIRONMENT

    def payload(
        self, site: str, *, root_execution_id: str | None, parent_execution_id: str | None
    ) -> dict[str, Any]:
        """Return the payload of the trigger. It has no input, output, result or published variable.

        :param root_execution_id: the outermost workflow, which may be this one; None if unknown.
        :param parent_execution_id: the StackStorm execution that it runs for, as far as it is trusted.
        """
        task = self.kind == TASK
        found = {
            "event": self.name,
            "kind": self.kind,
            "site": site,
            "name": self._text("name" if task else "workflow_name"),
            "state": self._text("state"),
            "state_info": _state_info(self.data.get("state_info")),
            "workflow_name": self._text("workflow_name"),
            "workflow_execution_id": self.workflow_execution_id,
            "task_execution_id": self._text("id" if task else "task_execution_id"),
            "root_execution_id": root_execution_id,
            "parent_execution_id": parent_execution_id,
            "project_id": self.project_id,
            "created_at": self._time("created_at"),
            "updated_at": self._time("updated_at"),
        }
        payload, _ = json_values.sanitize(found)
        assert isinstance(payload, dict)
        return payload

    def _text(self, name: str) -> str | None:
        value = self.data.get(name)
        return value if isinstance(value, str) else None

    def _time(self, name: str) -> str | None:
        """Return a time of Mistral, which is UTC without a zone, as StackStorm writes times."""
        value = self._text(name)
        return f"{value.replace(' ', 'T')}Z" if value else None


def _state_info(value: object) -> str | None:
    """Return the reason of a state, without tracebacks of Mistral and not too long."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = str(without_tracebacks(text))
    return text if len(text) <= _STATE_INFO else f"{text[:_STATE_INFO]}… (truncated)"
