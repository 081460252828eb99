"""Which workflow execution runs for which StackStorm execution, its parent, as each side says it.

The parent's context names the workflow, under a key of its own. The workflow names the parent by its
id, which is made of the parent's, in its description, and in its environment, which alone follows a
re-run to its new parent.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.model import json_values
from st2actions_mistral.model.ids import is_execution_id

RUNNER: Final = "mistral-v2"
"""The runner of the StackStorm actions that are workflows."""

DESCRIPTION: Final = "StackStorm execution "
"""Begins the description of a workflow execution that was started for one; its id follows."""

CONTEXT_KEY: Final = "mistral_workflow"
"""Of an execution's context. Its key ``mistral`` says of which action it is the child, if of any."""

# Of this package; with the id of a StackStorm execution it makes the id of the workflow execution.
_NAMESPACE: Final = uuid.UUID("5b0e4b1c-3b58-5f0e-9f0a-6a3f5d0c7c11")


def workflow_execution_id(execution_id: str) -> str:
    """The id of the workflow execution for a StackStorm execution: starting twice starts one."""
    return str(uuid.uuid5(_NAMESPACE, execution_id))


def started_for(workflow: Mapping[str, Any]) -> str | None:
    """The StackStorm execution that a workflow execution was started for; None where it was started
    otherwise.

    :param workflow: with ``id`` and ``description``.
    """
    description = workflow.get("description")
    if not isinstance(description, str) or not description.startswith(DESCRIPTION):
        return None
    execution_id = description.removeprefix(DESCRIPTION)
    # Whoever starts a workflow can make the id of any text, not only of an execution's id.
    if not is_execution_id(execution_id):
        return None
    return execution_id if workflow.get("id") == workflow_execution_id(execution_id) else None


def reports_to(workflow: Mapping[str, Any]) -> str | None:
    """The StackStorm execution that a workflow execution reports to now: the one in its environment,
    else the one that it was started for.

    :param workflow: as Mistral's API shows it, with ``params`` (JSON in a text). Whoever starts a
        workflow chooses its environment: nothing of its shape is taken for granted.
    """
    found = decoded(workflow.get("params"))
    for key in ("env", "__actions", "st2.callback", "st2_context", "parent", "execution_id"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if is_execution_id(found) else started_for(workflow)


@dataclass(frozen=True)
class WorkflowRef:
    """The workflow execution that runs for a StackStorm execution."""

    site: str
    """Marks the Mistral among several that share one StackStorm."""
    execution_id: str
    workflow_name: str

    @classmethod
    def of(cls, context: object) -> WorkflowRef | None:
        """Read the context of an execution; None where it has no workflow, or one that is malformed."""
        value = context.get(CONTEXT_KEY) if isinstance(context, Mapping) else None
        if not isinstance(value, Mapping):
            return None
        parts = [value.get(name) for name in ("site", "execution_id", "workflow_name")]
        texts = [part for part in parts if isinstance(part, str) and part]
        return cls(*texts) if len(texts) == len(parts) else None

    def as_context(self) -> dict[str, Any]:
        """What is added to the execution's context."""
        return {
            CONTEXT_KEY: {
                "site": self.site,
                "execution_id": self.execution_id,
                "workflow_name": self.workflow_name,
            }
        }


def workflow_of(context: object, execution_id: str) -> str:
    """The id of the workflow execution that runs for a StackStorm execution.

    :param context: of that execution. That of a re-run of tasks names the workflow of an earlier one.
    """
    ref = WorkflowRef.of(context)
    return ref.execution_id if ref else workflow_execution_id(execution_id)


def decoded(value: Any) -> Any:
    """What Mistral's API shows of a field that holds JSON: some come as a text of it, some as it is.

    :return: None for a text that is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json_values.decode(value)
    except ValueError:
        return None


def has_items(task: Mapping[str, Any]) -> bool:
    """Whether a task runs one action for each of some items, as Mistral's API shows it."""
    context = decoded(task.get("runtime_context"))
    return isinstance(context, Mapping) and "with_items" in context
