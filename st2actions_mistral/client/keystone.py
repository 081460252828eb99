"""Call keystone with somebody's token: whose it is, and the trusts that its user has made.

keystoneauth only authenticates. For these four calls nothing more of OpenStack is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from st2actions_mistral.client import session as http
from st2actions_mistral.client.address import segment
from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.errors import Answered, OutcomeUnknown

_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"

# An id goes into a header, so it must be as short and plain as keystone's are.
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

# Keystone's own words in an error that is logged.
_MESSAGE_CHARACTERS: Final = 300


@dataclass(frozen=True)
class Token:
    """The holder of a token. It does not hold the token itself."""

    user_id: str
    project_id: str | None
    """None for a token without a project: an unscoped one, or one of a domain or the system."""
    roles: frozenset[str]
    """Ids of the user's roles on the project."""
    by_application_credential: bool = False
    """It was made with an application credential. Such a token cannot make a trust."""
    trust_id: str | None = None
    """The trust that it was made with. Such a token cannot make another one."""
    trustee_id: str | None = None
    """The user that may use that trust."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Token:
        """Return the holder of the token that keystone describes in ``token``.

        :raises ValueError: the description has another shape.
        """
        with _is_value_error():
            trust = body.get("OS-TRUST:trust")
            return cls(
                user_id=_text(body["user"]["id"]),
                project_id=_text(body["project"]["id"]) if body.get("project") else None,
                roles=_roles(body),
                by_application_credential=body.get("application_credential") is not None,
                trust_id=_text(trust["id"]) if trust else None,
                trustee_id=_text(trust["trustee_user"]["id"]) if trust else None,
            )


@dataclass(frozen=True)
class Trust:
    """A trust from one user to another."""

    id: str
    trustee_id: str
    project_id: str | None
    impersonates: bool
    """The trustee acts in the name of the trustor."""
    is_limited: bool
    """It is valid for a number of tokens only."""
    roles: frozenset[str]
    """Ids; empty in a listing."""
    expires_at: datetime | None
    """None: never."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Trust:
        """Return the trust that keystone describes.

        :raises ValueError: the description has another shape.
        """
        with _is_value_error():
            expires_at = body["expires_at"]
            return cls(
                id=_text(body["id"]),
                trustee_id=_text(body["trustee_user_id"]),
                project_id=body.get("project_id"),
                impersonates=body["impersonation"] is True,
                is_limited=body.get("remaining_uses") is not None,
                roles=_roles(body),
                expires_at=_time(expires_at) if expires_at is not None else None,
            )


class KeystoneClient:
    """Version 3 of keystone's API. Threads may share it.

    :param url: with the version, without a trailing slash.
    """

    def __init__(self, url: str, session: http.Session, timeouts: Timeouts) -> None:
        self.url = url
        self._session = session
        self._timeouts = timeouts

    def token(self, token: str) -> Token:
        """Return whose token it is, and what it is for.

        Keystone does not tell that of a token that was made with a trust (403, tried with 30.0).

        :raises RemoteError: as for all methods; keystone answers 401 or 404 for an invalid token.
        """
        path = "/auth/tokens"
        found = self._call("GET", path, token, "token", headers={"X-Subject-Token": token})
        with self._shape("GET", path):
            return Token.parse(found)

    def trusts_of(self, token: str, trustor_id: str) -> list[Trust]:
        """Return the trusts that a user has made, without their roles."""
        path = "/OS-TRUST/trusts"
        query = {"trustor_user_id": trustor_id}
        rows = self._call("GET", path, token, "trusts", list, params=query)
        with self._shape("GET", path):
            return [Trust.parse(row) for row in rows]

    def trust(self, token: str, trust_id: str) -> Trust | None:
        """Return a trust with its roles; None if it was deleted."""
        path = f"/OS-TRUST/trusts/{segment(trust_id)}"
        try:
            found = self._call("GET", path, token, "trust")
        except Answered as error:
            if error.status == 404:
                return None
            raise
        with self._shape("GET", path):
            return Trust.parse(found)

    def create_trust(self, token: str, holder: Token, trustee_id: str, expires_at: datetime) -> Trust:
        """Create a trust for the project and the roles of a token, with impersonation.

        :param holder: of the token.
        """
        path = "/OS-TRUST/trusts"
        trust = {
            "trustor_user_id": holder.user_id,
            "trustee_user_id": trustee_id,
            "project_id": holder.project_id,
            "impersonation": True,
            "roles": [{"id": role} for role in sorted(holder.roles)],
            "expires_at": expires_at.astimezone(timezone.utc).strftime(_TIME),
        }
        made = self._call("POST", path, token, "trust", json={"trust": trust})
        with self._shape("POST", path):
            return Trust.parse(made)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._session.close()

    def _call(
        self,
        method: str,
        path: str,
        token: str,
        key: str,
        expect: type = dict,
        *,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Any:
        """Send a request, without a retry, and return the value of a key of the response."""
        url = f"{self.url}{path}"
        headers = {**(headers or {}), "X-Auth-Token": token}
        try:
            response = http.send(self._session, method, url, self._timeouts, headers=headers, **request)
        except Answered as error:
            raise _in_keystones_words(error) from error
        body = http.json_body(response, method, url)
        return http.check_shape(body.get(key), f"{key!r} in the response", method, url, expect)

    @contextmanager
    def _shape(self, method: str, path: str) -> Iterator[None]:
        """Translate what a response leads to that is not keystone's."""
        try:
            yield
        except ValueError as error:
            reason = f"the response cannot be read ({error})."
            raise OutcomeUnknown(method, f"{self.url}{path}", reason) from error


@contextmanager
def _is_value_error() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(type(error).__name__) from error


def _roles(body: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(_text(role["id"]) for role in body.get("roles") or ())


def _text(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("an id that is no short text")
    return value


def _time(value: str) -> datetime:
    return datetime.strptime(value, _TIME).replace(tzinfo=timezone.utc)


def _in_keystones_words(error: Answered) -> Answered:
    """Return the error with keystone's message instead of the JSON that it is in."""
    try:
        message = json.loads(error.message)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return error
    words = " ".join(str(message).split())[:_MESSAGE_CHARACTERS]
    hint = error.hint
    return Answered(
        error.method, error.url, error.status, words, retry_after=error.retry_after, hint=hint
    )
