"""Cancel, pause and resume the workflow of a StackStorm execution."""

from __future__ import annotations

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import Answered
from st2actions_mistral.model import states
from st2actions_mistral.model.workflow import reports_to, workflow_execution_id, workflow_of


def cancel(mistral: MistralClient, workflow_execution_id: str) -> str | None:
    """Have Mistral cancel a workflow; one that has ended stays as it is. Its children are the relay's.

    :return: its state as it is now; None where Mistral does not know it (yet).
    :raises RemoteError: it could not be told; trying again is safe.
    """
    return _change(mistral, workflow_execution_id, states.CANCELLED)


def cancel_for(mistral: MistralClient, execution_id: str, context: object) -> None:
    """Have Mistral cancel what runs for a StackStorm execution.

    :param context: of that execution. Whoever may POST executions may write any id into it: another
        workflow than the one that was started for the execution has to report to it (that of a re-run).
    :raises RemoteError: as :func:`cancel`.
    """
    cancel(mistral, workflow_execution_id(execution_id))
    named = workflow_of(context, execution_id)
    if named != workflow_execution_id(execution_id):
        workflow = mistral.get_execution(named)
        if workflow is not None and reports_to(workflow) == execution_id:
            cancel(mistral, named)


def pause(mistral: MistralClient, workflow_execution_id: str) -> str | None:
    """Have Mistral start no further task of a workflow; what runs runs on. As :func:`cancel`."""
    return _change(mistral, workflow_execution_id, states.PAUSED)


def resume(mistral: MistralClient, workflow_execution_id: str) -> str | None:
    """Let a paused workflow run on. As :func:`cancel`."""
    return _change(mistral, workflow_execution_id, states.RUNNING)


def _change(mistral: MistralClient, workflow_execution_id: str, state: str) -> str | None:
    try:
        return str(mistral.change_state(workflow_execution_id, state)["state"])
    except Answered as error:
        if error.status != 404:
            raise
        return None
