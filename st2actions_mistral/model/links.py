"""Relate a workflow execution to the StackStorm execution that it runs for, its parent execution.

The parent's context names the workflow execution. The workflow execution names the parent three
times: its id is derived from the parent's id, its description has that id, and so has its
environment. Only the environment changes to the new parent when a workflow is re-run.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from st2actions_mistral.model.ids import is_execution_id
from st2actions_mistral.model.mistral_fields import decoded
from st2actions_mistral.model.project import project_of

RUNNER: Final = "mistral-v2"
"""The runner of StackStorm actions that are Mistral workflows."""

DESCRIPTION: Final = "StackStorm execution "
"""The start of the description of a workflow execution; the id of its parent follows."""

CONTEXT_KEY: Final = "mistral_workflow"
"""The key in an execution's context. The key ``mistral`` there names the action of a child.

Packs for StackStorm 3.2 read the workflow's id and name below ``mistral``. Anybody may write both keys.
"""

# Never change it: the ids of workflow executions are derived from it.
_NAMESPACE: Final = uuid.UUID("5b0e4b1c-3b58-5f0e-9f0a-6a3f5d0c7c11")


def workflow_execution_id(execution_id: str) -> str:
    """Return the id of the workflow execution for a parent. A second start has the same id."""
    return str(uuid.uuid5(_NAMESPACE, execution_id))


def started_for(workflow: Mapping[str, Any]) -> str | None:
    """Return the id of the StackStorm execution that a workflow execution was started for.

    :param workflow: with ``id`` and ``description``.
    :return: None if it was not started for one.
    """
    description = workflow.get("description")
    if not isinstance(description, str) or not description.startswith(DESCRIPTION):
        return None
    execution_id = description.removeprefix(DESCRIPTION)
    # Whoever starts a workflow can derive an id from any string.
    if not is_execution_id(execution_id):
        return None
    return execution_id if workflow.get("id") == workflow_execution_id(execution_id) else None


def reports_to(workflow: Mapping[str, Any]) -> str | None:
    """Return the id of the StackStorm execution that a workflow execution reports to now.

    That is the one in its environment, else the one that it was started for.

    :param workflow: as Mistral's API shows it, with ``params`` (JSON in a string). Whoever starts a
        workflow chooses its environment, so it may have any shape.
    """
    found = context_of(workflow)
    for key in ("parent", "execution_id"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if is_execution_id(found) else started_for(workflow)


def context_of(workflow: Mapping[str, Any]) -> Any:
    """Return the ``st2_context`` in the environment of a workflow execution, of any shape.

    :param workflow: see :func:`reports_to`.
    """
    found = decoded(workflow.get("params"))
    for key in ("env", "__actions", "st2.callback", "st2_context"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


@dataclass(frozen=True)
class WorkflowRef:
    """The workflow execution that runs for a StackStorm execution."""

    site: str
    """The name of the Mistral among several that share one StackStorm."""
    execution_id: str
    workflow_name: str
    project_id: str | None = field(default=None, compare=False)
    """Its OpenStack project; None without keystone."""

    @classmethod
    def of(cls, context: object) -> WorkflowRef | None:
        """Return the workflow in the context of an execution; None if it is missing or malformed."""
        value = context.get(CONTEXT_KEY) if isinstance(context, Mapping) else None
        if not isinstance(value, Mapping):
            return None
        parts = [value.get(name) for name in ("site", "execution_id", "workflow_name")]
        texts = [part for part in parts if isinstance(part, str) and part]
        if len(texts) != len(parts):
            return None
        site, execution_id, workflow_name = texts
        return cls(site, execution_id, workflow_name, project_of(value))

    def as_context(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of the execution's context that names the workflow.

        ``mistral.execution_id`` and ``mistral.workflow_name`` name it as in StackStorm 3.2. If the
        execution is a child itself, ``mistral.parent`` then names the workflow of its task.

        :param context: of the execution.
        """
        known = context.get("mistral")
        known = known if isinstance(known, Mapping) else {}
        named = {**known, "execution_id": self.execution_id, "workflow_name": self.workflow_name}
        if "workflow_execution_id" in known:
            # StackStorm's policy action.retry copies a context that has "parent" already.
            of_task = {name: known.get(name) for name in ("workflow_execution_id", "workflow_name")}
            named.setdefault("parent", of_task)
        ref = {
            "site": self.site,
            "execution_id": self.execution_id,
            "workflow_name": self.workflow_name,
        }
        if self.project_id:
            # Not below "mistral", where a child has the project of its action.
            ref["project_id"] = self.project_id
        return {CONTEXT_KEY: ref, "mistral": named}


def workflow_of(context: object, execution_id: str) -> str:
    """Return the id of the workflow execution that runs for a StackStorm execution.

    :param context: of that execution. After a re-run of tasks it names the workflow of an earlier one.
    """
    ref = WorkflowRef.of(context)
    return ref.execution_id if ref else workflow_execution_id(execution_id)
