"""Authenticate requests to StackStorm and to Mistral.

StackStorm takes an API key, a token, or user and password. A password is exchanged for a token on
first use, and again if StackStorm rejects that token (401). Mistral takes a token of keystone, which
keystoneauth gets. Tokens live in memory only.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any, Optional, Protocol, TypeVar

import requests
from requests.auth import HTTPBasicAuth

from st2actions_mistral.client import session as http
from st2actions_mistral.client.settings import St2Settings, Timeouts, Tls, is_header_text
from st2actions_mistral.client.translate import keystone_errors
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown
from st2actions_mistral.model.project import Project, Scope

_Value = TypeVar("_Value")

MakePlugin = Callable[[Optional[str], Optional[str]], Any]
"""Make a keystoneauth plugin for a project's id, or for a trust's id and no project."""


class HeaderSource(Protocol):
    """The headers that authenticate a request. Threads may share it."""

    def headers(self) -> dict[str, str]:
        """Return the headers for one request."""

    def renew(self, rejected: dict[str, str]) -> bool:
        """Return True if it makes sense to send a request again after a 401, with new headers.

        :param rejected: the headers of the rejected request.
        """

    def hint(self) -> str:
        """Return what to do after a final 401."""


class MistralCredential(HeaderSource, Protocol):
    """The headers that authenticate a request to a Mistral with authentication."""

    def scope(self) -> Scope | None:
        """Return the project of the token; None where there is no token.

        :raises RemoteError: as ``headers``.
        """

    def scoped(self, project_id: str | None, trust_id: str | None = None) -> MistralCredential | None:
        """Return the same user's credential for a project, or for a trust.

        :param project_id: None: that of the trust.
        :return: None if this kind of credential is for one project only. Keystone is not asked yet.
        """

    def projects(self) -> list[Project]:
        """Return the projects on which the user has a role, directly or by inheritance.

        :raises RemoteError: as ``headers``.
        """


class Anonymous:
    """A service without authentication.

    :param hint: see :meth:`HeaderSource.hint`, in case the service has authentication after all.
    """

    def __init__(self, hint: str = "") -> None:
        self._hint = hint

    def headers(self) -> dict[str, str]:
        """Return no headers."""
        return {}

    def renew(self, rejected: dict[str, str]) -> bool:
        """Return False."""
        return False

    def hint(self) -> str:
        """Return the given hint."""
        return self._hint

    def scope(self) -> Scope | None:
        """Return None."""
        return None

    def scoped(self, project_id: str | None, trust_id: str | None = None) -> None:
        """Return None."""

    def projects(self) -> list[Project]:
        """Return no projects."""
        return []


class St2Credential:
    """The credential of StackStorm's settings.

    :param session: to log in with.
    """

    def __init__(self, settings: St2Settings, session: http.Session) -> None:
        self._credential = settings.credential
        self._timeouts = settings.timeouts
        self._session = session
        self._lock = threading.Lock()
        self._token: str | None = None
        self._login = threading.Lock()

    def headers(self) -> dict[str, str]:
        """Return the headers for one request.

        :raises RemoteError: the login failed.
        """
        credential = self._credential
        if credential.api_key:
            return {"St2-Api-Key": credential.api_key}
        if credential.auth_token:
            return {"X-Auth-Token": credential.auth_token}
        if credential.username:
            return {"X-Auth-Token": self._current_token()}
        return {}

    def renew(self, rejected: dict[str, str]) -> bool:
        """Forget the rejected token; return False if there is no way to get another one."""
        if not self._credential.username:
            return False
        with self._lock:
            # Another thread may have renewed it already.
            if self._token == rejected.get("X-Auth-Token"):
                self._token = None
        return True

    def hint(self) -> str:
        """Return what to do after a final 401."""
        credential, names = self._credential, self._credential.names
        if credential.api_key:
            return (
                f"StackStorm rejects {names.api_key}: create a new one with 'st2 apikey create', or"
                " enable it with 'st2 apikey enable' if it is disabled."
            )
        if credential.auth_token:
            return (
                f"StackStorm rejects {names.auth_token}; it may have expired. Set {names.api_key}"
                " instead."
            )
        if credential.username:
            return f"StackStorm rejects the token made with {names.username} and {names.password}."
        return (
            f"Set {names.api_key} (create one with 'st2 apikey create'), or {names.username} and"
            f" {names.password}."
        )

    def _current_token(self) -> str:
        timeouts = self._timeouts
        # One login serves all threads that wait for it. If it hangs, they must not queue up for a
        # timeout each.
        if not self._login.acquire(timeout=timeouts.connect_timeout + timeouts.read_timeout):
            raise NotSent("POST", self._login_url(), "another request waits for the token.")
        try:
            with self._lock:
                token = self._token
            if token is None:
                token = self._log_in()
                with self._lock:
                    self._token = token
            return token
        finally:
            self._login.release()

    def _log_in(self) -> str:
        credential, url = self._credential, self._login_url()
        assert credential.username is not None
        assert credential.password is not None
        try:
            response = http.send(
                self._session,
                "POST",
                url,
                self._timeouts,
                # Without ttl: StackStorm's default is a day, and it rejects more than its maximum.
                json={},
                auth=HTTPBasicAuth(credential.username.encode(), credential.password.encode()),
            )
            token = http.json_body(response, "POST", url).get("token")
        except Answered as error:
            if error.status != 401:
                raise
            hint = f"StackStorm rejects {credential.names.username} and {credential.names.password}."
            raise with_hint(error, hint) from error
        except OutcomeUnknown as error:
            # The request that needs the token was not sent, and a login is safe to repeat.
            raise NotSent(
                error.method, error.url, error.reason, retry_after=error.retry_after
            ) from error
        if not isinstance(token, str) or not is_header_text(token):
            reason = f"the response holds no token. Is {credential.names.auth_url} right?"
            raise NotSent("POST", url, reason, permanent=True)
        return token

    def _login_url(self) -> str:
        return f"{self._credential.auth_url}/tokens"


class KeystoneCredential:
    """The headers of a keystoneauth plugin.

    :param plugin: what ``keystoneauth1.loading`` made of the options.
    :param tls: how keystone's certificate is checked.
    :param hint: what to do if keystone or Mistral rejects the credential.
    :param make: returns a plugin of the same user for a project, or for a trust without a project; None
        if the credential is for one project only.
    """

    def __init__(
        self, plugin: Any, tls: Tls, timeouts: Timeouts, hint: str, *, make: MakePlugin | None = None
    ) -> None:
        # Imported here, because it imports a good part of OpenStack, which a Mistral without
        # authentication does not need.
        from keystoneauth1.session import Session

        self._plugin = plugin
        self._hint = hint
        self._make = make
        session = http.new_session(tls)
        # keystoneauth's own session would take proxies and passwords from the environment. It passes
        # verify with every request.
        self._session = Session(
            session=session,
            verify=session.verify,
            timeout=timeouts.read_timeout,
            redirect=False,
        )

    def headers(self) -> dict[str, str]:
        """Return the headers for one request; a token that is about to expire is renewed.

        :raises NotSent: keystone cannot be reached or does not work. The request that needs the token
            was not sent.
        :raises Answered: keystone rejects the credential.
        """
        return self._ask(lambda: dict(self._session.get_auth_headers(self._plugin) or {}))

    def scope(self) -> Scope | None:
        """Return the project of the token; None where there is none (the plugin ``none``).

        The token is kept, so keystone is asked only for a new one.

        :raises RemoteError: as :meth:`headers`.
        """
        from keystoneauth1.identity.base import BaseIdentityPlugin
        from keystoneauth1.noauth import NoAuth

        plugin = self._plugin
        if isinstance(plugin, NoAuth):
            return None
        if not isinstance(plugin, BaseIdentityPlugin):
            return Scope(self._ask(lambda: plugin.get_project_id(self._session)) or None)
        return self._ask(lambda: _scope_of(plugin.get_access(self._session)))

    def scoped(self, project_id: str | None, trust_id: str | None = None) -> KeystoneCredential | None:
        """Return the same user's credential for a project or a trust. It shares the connections."""
        if self._make is None:
            return None
        made = copy.copy(self)
        made._plugin = self._make(project_id, trust_id)
        return made

    def projects(self) -> list[Project]:
        """Return the projects on which the user has a role, directly or by inheritance.

        :raises RemoteError: as :meth:`headers`.
        """
        address = str(getattr(self._plugin, "auth_url", None) or "").rstrip("/")
        url = f"{address if address.endswith('/v3') else f'{address}/v3'}/auth/projects"

        def ask() -> list[Project]:
            found = self._session.get(url, auth=self._plugin).json()["projects"]
            return [Project(str(row["id"]), str(row["name"])) for row in found]

        return self._ask(ask)

    def renew(self, rejected: dict[str, str]) -> bool:
        """Let keystone issue a new token."""
        return bool(self._session.invalidate(self._plugin))

    def hint(self) -> str:
        """Return what to do after a final 401."""
        return self._hint

    def _ask(self, call: Callable[[], _Value]) -> _Value:
        try:
            with keystone_errors(getattr(self._plugin, "auth_url", None) or "", self.hint()):
                return call()
        except NotSent:
            # keystoneauth would keep a malformed response and fail on it each time.
            self._session.invalidate(self._plugin)
            raise


def _scope_of(access: Any) -> Scope:
    # Mistral 20 to 23 treat a token as an administrator's if one of its roles has this name.
    return Scope(access.project_id or None, is_admin="admin" in access.role_names)


def authenticated(
    credential: HeaderSource, send: Callable[[dict[str, str]], requests.Response]
) -> requests.Response:
    """Send a request with the headers of a credential; after a 401 once more, with new headers.

    :param send: takes the headers that authenticate the request.
    :raises Answered: a final 401 has the credential's hint.
    """
    headers = credential.headers()
    try:
        return send(headers)
    except Answered as error:
        if error.status != 401:
            raise
        if not credential.renew(headers):
            raise with_hint(error, credential.hint()) from error
        renewed = credential.headers()
        try:
            return send(renewed)
        except Answered as again:
            raise (with_hint(again, credential.hint()) if again.status == 401 else again) from error


def with_hint(error: Answered, hint: str) -> Answered:
    """Return the same error with a hint after the server's message."""
    message = f"{sentence(error.message)} {hint}".strip() if hint else error.message
    return Answered(error.method, error.url, error.status, message, hint=hint)


def sentence(text: str) -> str:
    """Return a server's message, with a full stop if more text can follow it only then."""
    return text if not text or text.endswith((".", "!", "?", "…", ":")) else f"{text}."
