"""Cancel, pause and resume the workflow of a StackStorm execution."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import Answered
from st2actions_mistral.model import states
from st2actions_mistral.model.links import reports_to, workflow_execution_id, workflow_of


def cancel(mistral: MistralClient, execution_id: str, context: object) -> set[str]:
    """Cancel the workflow that runs for a StackStorm execution. The relay cancels its executions.

    :param context: the execution's context. Whoever may create executions may write any workflow's id
        into it. So a workflow that was not started for this execution (in a re-run) is changed only if
        it reports to this execution.
    :return: the states of its workflow executions now. A final one is not changed. Empty if Mistral
        knows none (yet).
    :raises RemoteError: the outcome is unknown, or Mistral rejected the request. Safe to repeat.
    """
    return _change(
        mistral, execution_id, context, partial(mistral.change_state, state=states.CANCELLED)
    )


def pause(mistral: MistralClient, execution_id: str, context: object) -> set[str]:
    """Pause the workflow: Mistral starts no further task, running ones continue. As :func:`cancel`."""
    return _change(mistral, execution_id, context, partial(mistral.change_state, state=states.PAUSED))


def resume(mistral: MistralClient, execution_id: str, context: object) -> set[str]:
    """Resume the paused workflow. As :func:`cancel`."""
    return _change(mistral, execution_id, context, mistral.resume)


def _change(
    mistral: MistralClient, execution_id: str, context: object, change: Callable[[str], dict[str, Any]]
) -> set[str]:
    first, named = workflow_execution_id(execution_id), workflow_of(context, execution_id)
    own = [first]
    if named != first:
        workflow = mistral.execution_summary(named)
        if workflow is not None and reports_to(workflow) == execution_id:
            own.append(named)
    found = set()
    for workflow_id in own:
        try:
            found.add(str(change(workflow_id)["state"]))
        except Answered as error:
            if error.status != 404:
                raise
    return found
