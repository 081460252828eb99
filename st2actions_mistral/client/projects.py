"""Give a client for each project of a Mistral with keystone.

Mistral files everything that follows from an update under the project of the token that made it. With
an administrator's token it also looks names up in all projects: with a private definition of the same
name in two projects, the wrong one ran (measured with 23.0.0). So a record is changed only with a token
for its own project.

Such a token comes from a role of the relay's user on the project, but not from the role admin. Or it
comes from a trust, which lets the relay act with the roles of the user who made it. If that user is an
administrator, Mistral looked names up in all projects already when the workflow began.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Union

from st2actions_mistral.client.auth import MistralCredential
from st2actions_mistral.client.coalesce import Coalesced
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import Answered, NotSent
from st2actions_mistral.model.project import NoAccess, Project, Scope, project_text

Access = Union[MistralClient, NoAccess]
"""A client that may change the records of a project, or the reason why there is none."""

# Projects and trusts whose clients are kept, about 10 KB each with the token.
_LIMIT: Final = 1000

# Seconds after which a new token shows the roles of the user again. Keystone tells nobody that a user
# has become an administrator of a project.
_ROLES_ARE_FRESH: Final = 300.0

# Statuses with which keystone refuses a token for a project or a trust: 401 for a missing role and for
# a missing project, 403 or 404 for a trust.
_REFUSED: Final = frozenset({401, 403, 404})

_Key = tuple[str, Union[str, None]]


class ProjectClients:
    """The clients of one user for all projects. Safe to share between threads.

    :param lister: the client with the configured credential. It may be an administrator's.
    :param trusts: use the trusts that are given.
    :param remember: seconds for which keystone's refusal counts.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        lister: MistralClient,
        *,
        trusts: bool = False,
        remember: float = 15.0,
        limit: int = _LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lister: Final = lister
        self.uses_trusts: Final = trusts
        self._remember = remember
        self._found: Coalesced[_Key, Access] = Coalesced(self._ask, limit=limit, clock=clock)

    def scope(self) -> Scope | None:
        """Return the project of the configured token; None where Mistral has no authentication.

        :raises RemoteError: keystone cannot be reached, or rejects the credential.
        """
        return self.lister.scope()

    def access(self, project_id: str | None, trust_id: str | None = None) -> Access:
        """Return the client for the records of a project, or the reason why there is none.

        :param project_id: as Mistral shows it in the record; None if it shows none.
        :param trust_id: a trust for this project, unchecked. If it is none, the role of the relay's
            user counts.
        :raises RemoteError: keystone cannot be reached, or rejects the credential itself.
        """
        if self.scope() is None:
            return self.lister
        if project_id is None:
            return NoAccess(
                None,
                "Mistral shows no project of it",
                "Check that Mistral authenticates all users ([pecan] auth_enable).",
            )
        if not self.uses_trusts or trust_id is None:
            return self._get((project_id, None))
        by_trust = self._get((project_id, trust_id))
        if not isinstance(by_trust, NoAccess):
            return by_trust
        by_role = self._get((project_id, None))
        if not isinstance(by_role, NoAccess):
            return by_role
        return NoAccess(project_id, f"{by_trust.reason}; {by_role.reason}", by_role.remedy)

    def _get(self, key: _Key) -> Access:
        try:
            found = self._found.get(key, _ROLES_ARE_FRESH)
        except NotSent:
            # Keystone does not respond. The token that is known may still be valid.
            last = self._found.last(key)
            if last is None or isinstance(last, NoAccess):
                raise
            return last
        if isinstance(found, NoAccess):
            found = self._found.get(key, self._remember)
        return found

    def _ask(self, key: _Key) -> Access:
        project_id, trust_id = key
        own = self.scope()
        if own is not None and own.project_id == project_id and trust_id is None:
            return self.lister if not own.is_admin else _is_admin(project_id)
        credential = self.lister.credential
        assert credential is not None
        made = credential.scoped(*((project_id, None) if trust_id is None else (None, trust_id)))
        if made is None:
            return NoAccess(
                project_id,
                f"it belongs to {project_text(project_id)}, and the relay's credential is for one"
                " project only",
                "Configure a user with a password (auth_type = v3password), or run one relay for each"
                " project.",
            )
        try:
            scope = made.scope()
        except Answered as error:
            if error.status not in _REFUSED:
                raise
            # Keystone refuses a wrong password with the same status.
            credential.headers()
            return _refused(project_id, trust_id)
        if scope is None or scope.project_id != project_id:
            return NoAccess(
                project_id,
                f"it belongs to {project_text(project_id)}, and its trust is for another one",
                _GIVE_ROLE,
            )
        if scope.is_admin and trust_id is None:
            return _is_admin(project_id)
        return self.lister.sibling(_Watched(made, lambda: self._found.forget(key)))


class _Watched:
    """A credential that reports when keystone refuses it: a role or a trust may be gone.

    :param refused: called then.
    """

    def __init__(self, credential: MistralCredential, refused: Callable[[], None]) -> None:
        self._credential = credential
        self._refused = refused

    def headers(self) -> dict[str, str]:
        """Return the headers for one request."""
        try:
            return self._credential.headers()
        except Answered:
            self._refused()
            raise

    def renew(self, rejected: dict[str, str]) -> bool:
        """Let keystone issue a new token."""
        return self._credential.renew(rejected)

    def hint(self) -> str:
        """Return what to do after a final 401."""
        return self._credential.hint()

    def scope(self) -> Scope | None:
        """Return the project of the token."""
        return self._credential.scope()

    def scoped(self, project_id: str | None, trust_id: str | None = None) -> MistralCredential | None:
        """Return the same user's credential for a project, or for a trust."""
        return self._credential.scoped(project_id, trust_id)

    def projects(self) -> list[Project]:
        """Return the projects on which the user has a role."""
        return self._credential.projects()


_GIVE_ROLE: Final = "Give the relay's user a role on the project, such as member, but not admin."


def _is_admin(project_id: str) -> NoAccess:
    return NoAccess(
        project_id,
        f"it belongs to {project_text(project_id)}, where the relay's user has the role admin, with"
        " which Mistral would use definitions of other projects",
        "Remove the role admin on the project, and give the relay's user another one, such as member.",
    )


def _refused(project_id: str, trust_id: str | None) -> NoAccess:
    if trust_id is None:
        reason = f"it belongs to {project_text(project_id)}, where the relay's user has no role"
    else:
        reason = (
            f"it belongs to {project_text(project_id)}, and keystone refuses its trust: it expired or"
            " was deleted, or its user lost the role or was deleted"
        )
    return NoAccess(project_id, reason, _GIVE_ROLE)
