"""Complete an action execution in Mistral, with as much of its output as Mistral takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.bridge.rejection import breaks_on
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import result as results

# Statuses that reject the output. All others concern authentication or a transient failure.
_REJECTS_OUTPUT: Final = frozenset({400, 413, 422})


def complete_action(
    mistral: MistralClient,
    action_execution_id: str,
    state: str,
    output: Mapping[str, Any],
    *,
    retries_exhausted: bool = False,
) -> bool:
    """Give an action execution its final state and output, once.

    If Mistral, or a proxy in front of it, rejects the output, it is truncated to its link.

    :param output: as ``model.result.fit`` returns it.
    :param retries_exhausted: True if a 403 (from a firewall, for example), a 500, or a connection that
        breaks under a large output is to be blamed on the output. If False, it is raised.
    :return: False if the action was final already or is unknown.
    :raises RemoteError: the action was not completed.
    """
    try:
        return mistral.complete_action(action_execution_id, state, output)
    except Answered as error:
        rejected = error.status in _REJECTS_OUTPUT or (retries_exhausted and error.status == 403)
        if "st2" not in output or not rejected:
            raise
        status: int | None = error.status
    except OutcomeUnknown as error:
        if "st2" not in output or not retries_exhausted or not breaks_on(error, output):
            raise
        status = error.status
    return mistral.complete_action(
        action_execution_id, state, results.truncate_rejected(output, status)
    )
