"""Who we are in a Mistral that keystone protects, through keystoneauth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from st2actions_mistral.client import redact
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.errors import Answered, NotSent
from st2actions_mistral.model.project import Scope

Value = TypeVar("Value")

# What keystoneauth raises over an answer whose parts it takes for granted.
_STRANGE: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class KeystoneCredential:
    """The headers of a keystoneauth plugin.

    :param plugin: what ``keystoneauth1.loading`` made of the options.
    :param tls: how keystone's certificate is checked.
    :param group: the option group with the plugin's options, for error messages.
    """

    def __init__(self, plugin: Any, tls: Tls, timeouts: Timeouts, group: str) -> None:
        # Here and not above: it brings a good part of OpenStack along, which a Mistral that is open to
        # everybody does not need.
        from keystoneauth1.session import Session

        self._plugin = plugin
        self._group = group
        http = new_session(tls)
        # keystoneauth's own session would take proxies and passwords from the environment. It gives the
        # verify of every request itself.
        self._session = Session(
            auth=plugin,
            session=http,
            verify=http.verify,
            timeout=timeouts.read_timeout,
            redirect=False,
        )
        self._scope: Scope | None = None

    def headers(self) -> dict[str, str]:
        """The headers for one request; a token that is about to expire is renewed.

        :raises NotSent: keystone cannot be reached, or does not answer as it should; what needed the
            token has not been sent.
        :raises Answered: keystone does not take who we say we are.
        """
        return self._asked(lambda: dict(self._session.get_auth_headers() or {}))

    def scope(self) -> Scope | None:
        """Return the project of the token; None where there is none (``auth_type = none``).

        The project of a plugin does not change, so keystone is asked once.

        :raises RemoteError: as :meth:`headers`.
        """
        from keystoneauth1.noauth import NoAuth

        if self._scope is None and not isinstance(self._plugin, NoAuth):
            self._scope = Scope(self._asked(lambda: self._plugin.get_project_id(self._session)) or None)
        return self._scope

    def _asked(self, call: Callable[[], Value]) -> Value:
        """Call keystoneauth and translate its errors."""
        from keystoneauth1 import exceptions

        try:
            return call()
        except (exceptions.ConnectFailure, exceptions.RetriableConnectionFailure) as error:
            raise NotSent(*self._call(), "no connection to keystone.") from error
        except exceptions.HttpError as error:
            if error.http_status >= 500:
                raise NotSent(*self._call(), f"keystone answers {error.http_status}.") from error
            raise Answered(
                *self._call(), error.http_status, f"{redact.message(error.message)} {self.hint()}"
            ) from error
        except exceptions.ClientException as error:
            # A missing option, a URL that is no keystone: its text names options and URLs only.
            raise NotSent(
                *self._call(), f"{redact.message(str(error))} {self.hint()}", permanent=True
            ) from error
        except _STRANGE as error:
            # keystoneauth would keep that answer, and trip over it each time.
            self._session.invalidate()
            reason = f"keystone's answer cannot be read ({type(error).__name__})."
            raise NotSent(*self._call(), reason) from error

    def renew(self, refused: dict[str, str]) -> bool:
        """Have keystone make a new token."""
        return bool(self._session.invalidate())

    def hint(self) -> str:
        """Which options to look at."""
        return f"See the options of keystoneauth in [{self._group}]: auth_type, auth_url, username …"

    def _call(self) -> tuple[str, str]:
        """Return method and URL for an error."""
        return "authenticate", redact.url(getattr(self._plugin, "auth_url", "") or "")
