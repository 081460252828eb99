"""Authenticate requests to a Mistral whose users StackStorm authenticates (``auth_type = st2``)."""

from __future__ import annotations

import copy
from typing import Final

from st2actions_mistral.client.auth import HeaderSource
from st2actions_mistral.model.project import PROJECT_HEADER, Project, Scope

ST2: Final = "st2"
"""The value of ``auth_type``."""


class St2Login:
    """A StackStorm credential, as a credential for Mistral.

    What it may read depends on ``[st2_auth]`` in Mistral's configuration, which a client does not know.
    So it names the project whose records it changes. Mistral answers 403 if it must not.

    :param source: the headers that StackStorm takes.
    """

    def __init__(self, source: HeaderSource) -> None:
        self._source = source
        self._project_id: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers for one request.

        :raises RemoteError: the login at StackStorm failed.
        """
        named = {PROJECT_HEADER: self._project_id} if self._project_id is not None else {}
        return {**self._source.headers(), **named}

    def renew(self, rejected: dict[str, str]) -> bool:
        """Forget a token that was made with a password."""
        return self._source.renew(rejected)

    def hint(self) -> str:
        """Return what to do after a final 401."""
        return self._source.hint()

    def scope(self) -> Scope:
        """Return the project that the requests name. They never act as an administrator there."""
        return Scope(self._project_id, is_named=True)

    def scoped(self, project_id: str | None, trust_id: str | None = None) -> St2Login | None:
        """Return the same user's credential for a project; None for a trust, which is keystone's."""
        if project_id is None or trust_id is not None:
            return None
        made = copy.copy(self)
        made._project_id = project_id
        return made

    def projects(self) -> list[Project]:
        """Return no project: the user has a role on none."""
        return []


class ExecutionToken:
    """The token that StackStorm makes for an execution of its runner.

    :param token: the token.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def headers(self) -> dict[str, str]:
        """Return the headers for one request."""
        return {"X-Auth-Token": self._token}

    def renew(self, rejected: dict[str, str]) -> bool:
        """Return False: there is one token for each execution."""
        return False

    def hint(self) -> str:
        """Return what to do after a final 401."""
        return (
            "Mistral rejects the token of the execution. Check that [st2] api_url in mistral.conf is"
            " this StackStorm, and that [DEFAULT] auth_type there is st2."
        )
