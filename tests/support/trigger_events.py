"""Read the events that the notifier has sent to a trigger of the StackStorm stand-in."""

from __future__ import annotations

from typing import Any, Final

from st2_mistral_sandbox.stackstorm import StackStorm

TRIGGER: Final = "examples.mistral_event"


def payloads_of(stackstorm: StackStorm, workflow_execution_id: str) -> list[dict[str, Any]]:
    """Return the payloads of a workflow's events that have arrived, the oldest first."""
    payloads = [instance["payload"] for instance in stackstorm.trigger_instances(TRIGGER)]
    own = [found for found in payloads if found["workflow_execution_id"] == workflow_execution_id]
    return own[::-1]
