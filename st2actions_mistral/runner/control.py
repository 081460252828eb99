"""Cancel, pause and resume the workflow of a StackStorm execution."""

from __future__ import annotations

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import Answered
from st2actions_mistral.model import states
from st2actions_mistral.model.links import reports_to, workflow_execution_id, workflow_of


def cancel(mistral: MistralClient, workflow_execution_id: str) -> str | None:
    """Cancel a workflow in Mistral. A final one stays unchanged. The relay cancels its executions.

    :return: the current state; None if Mistral does not know the workflow (yet).
    :raises RemoteError: the outcome is unknown, or Mistral rejected the request. Safe to repeat.
    """
    return _change(mistral, workflow_execution_id, states.CANCELLED)


def cancel_for(mistral: MistralClient, execution_id: str, context: object) -> None:
    """Cancel the workflow that runs for a StackStorm execution.

    :param context: the execution's context. Whoever may create executions may write any workflow's id
        into it. So a workflow that was not started for this execution (in a re-run) is cancelled only
        if it reports to this execution.
    :raises RemoteError: as :func:`cancel`.
    """
    cancel(mistral, workflow_execution_id(execution_id))
    named = workflow_of(context, execution_id)
    if named != workflow_execution_id(execution_id):
        workflow = mistral.get_execution(named)
        if workflow is not None and reports_to(workflow) == execution_id:
            cancel(mistral, named)


def pause(mistral: MistralClient, workflow_execution_id: str) -> str | None:
    """Pause a workflow: Mistral starts no further task, running ones continue. As :func:`cancel`."""
    return _change(mistral, workflow_execution_id, states.PAUSED)


def resume(mistral: MistralClient, workflow_execution_id: str) -> str | None:
    """Resume a paused workflow. As :func:`cancel`."""
    return _change(mistral, workflow_execution_id, states.RUNNING)


def _change(mistral: MistralClient, workflow_execution_id: str, state: str) -> str | None:
    try:
        return str(mistral.change_state(workflow_execution_id, state)["state"])
    except Answered as error:
        if error.status != 404:
            raise
        return None
