"""Relate an action to its task and its workflow, and tell whether Mistral still wants its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from st2actions_mistral.model import states
from st2actions_mistral.model.mistral_fields import has_items


@dataclass(frozen=True)
class Place:
    """The place of an action in its workflow."""

    workflow_state: str
    task_state: str
    with_items: bool = False
    newer_attempt: bool = False
    """True if the task has an action that was created later."""

    @classmethod
    def of(
        cls,
        action: Mapping[str, Any],
        task: Mapping[str, Any],
        workflow_state: str | None,
        attempts: Iterable[Mapping[str, Any]],
    ) -> Place:
        """Combine what Mistral says.

        :param workflow_state: None if the workflow execution is deleted.
        :param attempts: the action executions of the task; not needed for a task with items.
        """
        return cls(
            workflow_state=workflow_state or states.CANCELLED,
            task_state=task["state"],
            with_items=has_items(task),
            # Whole seconds are enough: a retry follows a timeout, which takes at least one second.
            newer_attempt=any(
                str(other.get("created_at")) > str(action["created_at"]) for other in attempts
            ),
        )

    @property
    def given_up(self) -> str | None:
        """The reason why Mistral no longer wants the action's result; None if it does.

        In a task with items the attempt of an item is unknown, so only the states of task and workflow
        count. A workflow in ERROR may be resumed by an operator.
        """
        if self.workflow_state == states.CANCELLED:
            return "its workflow is cancelled"
        if self.task_state in states.TASK_FINAL:
            return f"its task is {self.task_state}"
        if self.task_state in states.TASK_BETWEEN_ATTEMPTS:
            return "its task waits for a retry"
        if self.superseded:
            return "its task was retried"
        return None

    @property
    def settled(self) -> bool:
        """True if completing the action starts nothing.

        Otherwise Mistral would take the action's result for that of a newer attempt.
        """
        return self.workflow_state == states.CANCELLED or self.task_state in states.TASK_FINAL

    @property
    def superseded(self) -> bool:
        """True if a newer attempt of the task has an execution of its own."""
        return self.newer_attempt and not self.with_items
