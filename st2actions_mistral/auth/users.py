"""Ask StackStorm whose credential it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from st2actions_mistral.auth.headers import KEY, TOKEN, Credential
from st2actions_mistral.client import session as http
from st2actions_mistral.client.limits import Limits
from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.config.auth import AuthSettings
from st2actions_mistral.errors import Answered, OutcomeUnknown

# StackStorm's response has about 200 bytes, and the names of the user's roles.
_BOUNDS: Final = Limits(response_bytes=64 * 1024, error_bytes=4096, response_timeouts=1)

# StackStorm's words for the two kinds.
_METHODS: Final = {TOKEN: "authentication token", KEY: "API key"}

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"

_LONGEST_NAME: Final = 255

_NO_USER: Final = (
    "The response does not show the user. Is [st2] api_url right, and does StackStorm authenticate its"
    " users?"
)


@dataclass(frozen=True)
class User:
    """The user of a valid credential."""

    name: str
    roles: frozenset[str]
    """RBAC roles; empty where StackStorm has no RBAC."""
    expires_at: datetime | None = None
    """The end of the token; None for an API key."""

    @classmethod
    def parse(cls, body: Mapping[str, Any], credential: Credential) -> User:
        """Return the user that ``GET /v1/user`` describes.

        :param credential: the one that was sent.
        :raises ValueError: the description does not show that StackStorm has checked it.
        """
        method, where = body["authentication"]["method"], body["authentication"]["location"]
        if (method, where) != (_METHODS[credential.header], "header"):
            raise ValueError("StackStorm took another credential.")
        expires = body["authentication"]["token_expire"] if credential.header == TOKEN else None
        name, rbac = body["username"], body["rbac"]
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
            raise ValueError("The name of the user is no short text.")
        # Without RBAC, StackStorm calls everybody an administrator.
        roles = rbac["roles"] if rbac["enabled"] is True else []
        return cls(
            name,
            frozenset(role for role in roles if isinstance(role, str)),
            datetime.strptime(expires, _TIME).replace(tzinfo=timezone.utc) if expires else None,
        )


class Users:
    """The users of one StackStorm. Threads may share it.

    ``GET /v1/user`` is asked with the credential itself. It takes both kinds, needs no permission and
    no credential of Mistral's own, and names the user. ``POST /tokens/validate`` takes tokens only.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._url = f"{settings.api_url}/user"
        self._timeouts = Timeouts(settings.timeout, settings.timeout, retry_deadline=0)
        self._session = http.new_session(settings.tls)

    def __call__(self, credential: Credential) -> User | None:
        """Return the user of a credential; None if StackStorm rejects it.

        :raises RemoteError: StackStorm did not say.
        """
        began = time.monotonic()
        try:
            return self._ask(credential)
        except OutcomeUnknown as error:
            late = time.monotonic() - began > self._timeouts.read_timeout / 2
            if error.status is not None or late:
                raise
        # StackStorm closed a kept connection at the moment in which it was used again.
        return self._ask(credential)

    def _ask(self, credential: Credential) -> User | None:
        try:
            response = http.send(
                self._session,
                "GET",
                self._url,
                self._timeouts,
                headers={credential.header: credential.secret},
                bounds=_BOUNDS,
            )
        except Answered as error:
            # Any other status is about the service, not about the credential.
            if error.status == 401:
                return None
            raise
        body = http.json_body(response, "GET", self._url)
        try:
            return User.parse(body, credential)
        except (ValueError, LookupError, TypeError):
            # Neither the error nor its text goes on: it may quote what was sent.
            pass
        raise OutcomeUnknown("GET", self._url, _NO_USER, status=response.status_code, hint=_NO_USER)
