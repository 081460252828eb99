"""Check Mistral: the actions that it has, and the project of the relay's token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.cli.checks.host import ACTIONS
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.model.project import REMEDY, foreign
from st2actions_mistral.relay.records import ACTION_NAME


def actions(mistral: MistralClient, require_mistral: Callable[[], None]) -> str:
    """Check that Mistral has both actions.

    :param require_mistral: raises ConfigError where the server is not Mistral.
    """
    for name in ACTIONS:
        if not mistral.knows_action(name):
            require_mistral()
            raise CheckFailed(
                f"Mistral has no action {name}. Install the package on the hosts of API, engines and"
                ' executors, and restart them. See also what the check "action filter" reports there.'
            )
    return f"has {' and '.join(ACTIONS)}"


def project(mistral: MistralClient) -> str:
    """Check that all pending actions belong to the project of the relay's token."""
    scope = mistral.scope()
    if scope is None:
        return "Mistral has no authentication"
    if scope.project_id is None:
        raise CheckFailed(
            "The token of [st2_relay] has no project, so that the relay completes nothing: set"
            f" project_name or project_id. {REMEDY}"
        )
    others = [other for action in _pending(mistral) if (other := foreign(action, scope)) is not None]
    if others:
        raise CheckFailed(
            f"The relay does not complete {len(others)} pending actions. One of them:"
            f" {others[0].reason}. {REMEDY}"
        )
    return f"the relay completes actions of project {scope.project_id} only"


def pending_actions(mistral: MistralClient) -> dict[str, dict[str, Any]]:
    """Return the pending actions that the relay may complete, by id."""
    scope = mistral.scope()
    return {action["id"]: action for action in _pending(mistral) if foreign(action, scope) is None}


def _pending(mistral: MistralClient) -> list[dict[str, Any]]:
    running = mistral.running_actions()
    return [action for action in running if action["name"] == ACTION_NAME]
