"""Check Mistral: the actions that it has, and the project of the relay's token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from st2actions_mistral.bridge.definitions import base_of
from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.cli.checks.host import ACTIONS
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import Access, ProjectClients
from st2actions_mistral.errors import Answered
from st2actions_mistral.model.project import NoAccess, owner_of
from st2actions_mistral.model.records import ACTION_NAME

# Projects whose policy is checked: each needs a token and a dozen requests.
_PROJECTS: Final = 20


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


def project(clients: ProjectClients) -> str:
    """Check that the relay may act in the projects of all pending actions."""
    scope = clients.scope()
    if scope is None:
        return "Mistral has no authentication"
    if scope.default_id is None:
        raise CheckFailed("The token of [st2_relay] has no project: set project_name or project_id.")
    if scope.is_named:
        _check_may_act(clients, scope.default_id)
    # Whether an action has a trust is known in its execution only.
    closed = [] if clients.uses_trusts else [a for a in _accesses(clients) if isinstance(a, NoAccess)]
    if closed:
        raise CheckFailed(
            f"The relay does not complete {len(closed)} pending actions. One of them: {closed[0].text}"
        )
    if scope.is_named:
        return "the relay may act in the projects of all pending actions"
    if scope.is_admin:
        return "the relay sees all projects, and may act in those of all pending actions"
    return f"the relay completes actions of project {scope.project_id} only"


def _check_may_act(clients: ProjectClients, project_id: str) -> None:
    """Check that Mistral lets the relay's user name a project.

    With a project for each user, only those in [st2_auth] relay_users may. Others see no pending action
    of other users.
    """
    access = clients.access(project_id)
    if isinstance(access, NoAccess):
        raise CheckFailed(access.text)
    try:
        access.clock()
    except Answered as error:
        if error.status != 403:
            raise
        raise CheckFailed(error.message) from error


def projects_of_pending(clients: ProjectClients) -> list[str]:
    """Return the projects of the pending actions, at most :data:`_PROJECTS`."""
    if clients.uses_trusts:
        return []
    owners = dict.fromkeys(owner for action in _pending(clients) if (owner := owner_of(action)))
    return list(owners)[:_PROJECTS]


def pending_actions(clients: ProjectClients) -> dict[str, dict[str, Any]]:
    """Return the pending actions that the relay may complete, by id."""
    pending = _pending(clients)
    if clients.uses_trusts:
        return {action["id"]: action for action in pending}
    return {
        action["id"]: action
        for action in pending
        if not isinstance(clients.access(owner_of(action)), NoAccess)
    }


def _accesses(clients: ProjectClients) -> list[Access]:
    return [clients.access(owner_of(action)) for action in _pending(clients)]


def _pending(clients: ProjectClients) -> list[dict[str, Any]]:
    bases = {ACTION_NAME: ACTION_NAME}
    pending = []
    for action in clients.lister.running_actions():
        name = action["name"]
        if name not in bases:
            bases[name] = base_of(clients.lister, name)
        if bases[name] == ACTION_NAME:
            pending.append(action)
    return pending
