"""Read what the bridge needs from the definitions that Mistral has."""

from __future__ import annotations

from typing import Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.dsl import stored

# Ad-hoc actions based on ad-hoc actions. Mistral rejects a cycle.
_MAX_DEPTH: Final = 10


def base_of(mistral: MistralClient, action_name: str) -> str:
    """Return the name of the action that does the work.

    That is the end of the chain of ``base`` for an ad-hoc action, ``st2.action`` for a native one, and
    the name itself for any other. The executions of an action carry its own name, not that of its base.
    """
    for _ in range(_MAX_DEPTH):
        definition = mistral.action_definition(action_name)
        base = stored.base(definition) if definition else None
        if base is None:
            break
        action_name = base
    return action_name


def required_tasks(mistral: MistralClient, workflow: str) -> dict[str, set[str]]:
    """Return the names of the tasks that each task of a reverse workflow requires, by its name.

    The current definition counts. The result is empty for a direct or an unknown workflow.
    """
    definition = mistral.definition(workflow, "workflow")
    return stored.required_tasks(definition, workflow) if definition else {}
