"""Check what keystone and Mistral's policy let the relay's user do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.cli.checks.mistral import projects_of_pending
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.mistral_rules import ACTING, LISTING
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.model.project import NoAccess, Project, Scope

# Names that a message shows.
_SHOWN: Final = 10


def policy(clients: ProjectClients, wanted: str | None = None) -> str:
    """Check that Mistral's policy has the rules that the relay needs.

    The projects of pending actions are checked if the relay has access to them.

    :param wanted: the id or the name of another project to check.
    """
    named = [find_project(clients, wanted).id] if wanted is not None else []
    scope = clients.scope()
    if scope is None:
        return "Mistral has no authentication"
    denied = clients.lister.denied_rules(LISTING)
    if denied:
        raise CheckFailed(_denial(f"the relay's user in project {scope.default_id}", denied))
    acting = _acting(clients, scope, [*named, *projects_of_pending(clients)])
    for project_id, client in acting.items():
        denied = client.denied_rules(ACTING)
        if denied:
            raise CheckFailed(_denial(f"the relay's user in project {project_id}", denied))
    found = f"has the rules that the relay needs (projects checked: {len(acting)})"
    if scope.is_named:
        return f"{found}; StackStorm authenticates its users"
    return f"{found}; {_seen(scope)}; its user has a role on {_named(_roles(clients))}"


def find_project(clients: ProjectClients, wanted: str) -> Project:
    """Return the project with an id or a name, on which the relay's user has a role.

    :raises CheckFailed: there is none, or several have the name.
    """
    scope = clients.scope()
    if scope is None:
        raise CheckFailed("Mistral has no authentication, and so no projects: leave out --project.")
    if scope.is_named:
        # Mistral decides when it gets a request for it.
        return Project(wanted, wanted)
    projects = _roles(clients)
    found = [project for project in projects if wanted in (project.id, project.name)]
    if not found:
        raise CheckFailed(
            f"The relay's user has no role on a project {wanted!r:.80}. It has one on"
            f" {_named(projects)}. Give it a role there, such as member, but not admin."
        )
    if len(found) > 1:
        ids = ", ".join(project.id for project in found)
        raise CheckFailed(
            f"Several projects are named {wanted!r:.80}: use --project with one of {ids}."
        )
    return found[0]


def client_for_probe(clients: ProjectClients, wanted: str | None) -> tuple[MistralClient, str]:
    """Return the client with which the relay acts in a project, and the end of a sentence about it.

    :param wanted: its id or its name; None: the project of the relay's token.
    :raises CheckFailed: the relay may not act there.
    """
    scope = clients.scope()
    if wanted is None and scope is None:
        return clients.lister, ""
    if wanted is not None:
        project = find_project(clients, wanted)
    else:
        own = (scope.default_id if scope else None) or ""
        project = Project(own, own)
    access = clients.access(project.id)
    if isinstance(access, NoAccess):
        raise CheckFailed(
            f"The relay does not act in project {project.name}: {access.text} To test another project,"
            " name it with --project."
        )
    return access, f" in project {project.name}"


def _acting(
    clients: ProjectClients, scope: Scope, projects: Collection[str]
) -> dict[str, MistralClient]:
    """Return the clients of the projects in which the relay may act, also of its own."""
    wanted = dict.fromkeys([*([scope.default_id] if scope.default_id else []), *projects])
    found = {project_id: clients.access(project_id) for project_id in wanted}
    return {id_: access for id_, access in found.items() if not isinstance(access, NoAccess)}


def _roles(clients: ProjectClients) -> list[Project]:
    credential = clients.lister.credential
    return sorted(credential.projects(), key=lambda project: project.name) if credential else []


def _seen(scope: Scope) -> str:
    if scope.is_admin:
        return "with the role admin it sees all projects"
    return f"without the role admin it sees project {scope.project_id} only"


def _denial(who: str, rules: Sequence[str]) -> str:
    return (
        f"Mistral's policy denies {who}: {', '.join(rules)}. Allow these rules for a role of this user"
        " in the policy file of Mistral's API."
    )


def _named(projects: Sequence[Project]) -> str:
    shown = ", ".join(project.name for project in projects[:_SHOWN])
    rest = len(projects) - _SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown or "no project"
