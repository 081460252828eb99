"""Find the StackStorm executions that a workflow started."""

from __future__ import annotations

from typing import Any

from st2_mistral_sandbox.stackstorm import StackStorm
from support.waiting import eventually


def children_of(stackstorm: StackStorm, workflow_execution_id: str) -> list[dict[str, Any]]:
    """Return the executions that carry the id of a workflow execution."""
    return [
        execution
        for execution in stackstorm.executions.all()
        if execution["context"].get("mistral", {}).get("workflow_execution_id") == workflow_execution_id
    ]


def running_child_of(stackstorm: StackStorm, workflow_execution_id: str) -> dict[str, Any]:
    """Wait for a running execution of a workflow, and return it."""

    def look() -> dict[str, Any] | None:
        found = children_of(stackstorm, workflow_execution_id)
        return next((child for child in found if child["status"] == "running"), None)

    return eventually(look, f"an execution of workflow {workflow_execution_id} runs")
