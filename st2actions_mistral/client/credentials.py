"""Who we are in StackStorm: an API key, a token, or user and password.

A password is traded for a token on first use, and once more when StackStorm no longer takes that
token (401). The token lives in memory only.
"""

from __future__ import annotations

import threading
from typing import Protocol

import requests
from requests.auth import HTTPBasicAuth

from st2actions_mistral.client import session as http
from st2actions_mistral.client.settings import St2Settings, is_header_text
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown
from st2actions_mistral.model.project import Scope


class HeaderSource(Protocol):
    """What lets a request in. Safe to share between threads."""

    def headers(self) -> dict[str, str]:
        """The headers for one request."""

    def renew(self, refused: dict[str, str]) -> bool:
        """After a 401: whether sending once more, with new headers, has a point.

        :param refused: the headers that the refused request was sent with.
        """

    def hint(self) -> str:
        """After a final 401: which option to set."""


class MistralCredential(HeaderSource, Protocol):
    """What lets a request into a Mistral that has authentication."""

    def scope(self) -> Scope | None:
        """Return the project of the token; None where there is no token.

        :raises RemoteError: as ``headers``.
        """


class Anonymous:
    """For a service that lets everybody in."""

    def __init__(self, hint: str = "") -> None:
        self._hint = hint

    def headers(self) -> dict[str, str]:
        return {}

    def renew(self, refused: dict[str, str]) -> bool:
        return False

    def hint(self) -> str:
        return self._hint

    def scope(self) -> Scope | None:
        return None


class St2Credential:
    """Lets a request into StackStorm."""

    def __init__(self, settings: St2Settings, session: requests.Session) -> None:
        self._credential = settings.credential
        self._timeouts = settings.timeouts
        self._session = session
        self._lock = threading.Lock()
        self._token: str | None = None
        self._logging_in = threading.Lock()

    def headers(self) -> dict[str, str]:
        """The headers for one request.

        :raises RemoteError: a password could not be traded for a token.
        """
        credential = self._credential
        if credential.api_key:
            return {"St2-Api-Key": credential.api_key}
        if credential.auth_token:
            return {"X-Auth-Token": credential.auth_token}
        if credential.username:
            return {"X-Auth-Token": self._logged_in()}
        return {}

    def renew(self, refused: dict[str, str]) -> bool:
        # Another thread may have renewed meanwhile: its token is not the one that was refused.
        if not self._credential.username:
            return False
        with self._lock:
            if self._token == refused.get("X-Auth-Token"):
                self._token = None
        return True

    def hint(self) -> str:
        if self._credential.api_key:
            return (
                "StackStorm does not take [st2] api_key: make a new one with 'st2 apikey create', or"
                " enable it with 'st2 apikey enable' if it is disabled."
            )
        if self._credential.auth_token:
            return "StackStorm does not take [st2] auth_token; it may have expired. Use api_key."
        if self._credential.username:
            return "StackStorm does not take the token made with [st2] username and password."
        return "Set [st2] api_key (made with 'st2 apikey create'), or username and password."

    def _logged_in(self) -> str:
        # One log-in serves everybody who waits for it. One that hangs must not make them queue up for
        # a time-out each.
        timeouts = self._timeouts
        if not self._logging_in.acquire(timeout=timeouts.connect_timeout + timeouts.read_timeout):
            raise NotSent(
                "POST", f"{self._credential.auth_url}/tokens", "another request waits for the token."
            )
        try:
            with self._lock:
                token = self._token
            if token is None:
                token = self._log_in()
                with self._lock:
                    self._token = token
            return token
        finally:
            self._logging_in.release()

    def _log_in(self) -> str:
        credential = self._credential
        assert credential.username is not None
        assert credential.password is not None
        url = f"{credential.auth_url}/tokens"
        try:
            response = http.send(
                self._session,
                "POST",
                url,
                self._timeouts,
                # No ttl: StackStorm's default is a day, and more than its maximum is refused.
                json={},
                auth=HTTPBasicAuth(credential.username.encode(), credential.password.encode()),
            )
            token = http.json_body(response, "POST", url).get("token")
        except Answered as error:
            if error.status == 401:
                raise Answered(
                    error.method,
                    error.url,
                    401,
                    f"{error.message}: StackStorm does not take [st2] username and password.",
                ) from error
            raise
        except OutcomeUnknown as error:
            # The request that needed the token has not been sent, and a login is safe to repeat.
            raise NotSent(
                error.method, error.url, error.reason, retry_after=error.retry_after
            ) from error
        if not isinstance(token, str) or not is_header_text(token):
            raise NotSent("POST", url, "the answer holds no token. Is auth_url right?", permanent=True)
        return token
