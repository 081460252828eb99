"""Log in to Mistral with a StackStorm credential: ``mistral --auth-type st2``.

python-mistralclient loads the class, both the command line and the library. No other package of
StackStorm or OpenStack is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.auth.headers import KEY, TOKEN
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import Tls, is_header_text
from st2actions_mistral.errors import ConfigError

# The variables of StackStorm's command line.
_TOKEN_VARIABLE: Final = "ST2_AUTH_TOKEN"  # noqa: S105 - a name
_KEY_VARIABLE: Final = "ST2_API_KEY"
_CLIENTS_TOKEN: Final = "--os-auth-token or OS_AUTH_TOKEN"  # noqa: S105 - names

# What mistralclient would send of an OpenStack user. Mistral ignores it, and it may be a secret.
_NOT_SENT: Final = (
    "auth_token",
    "project_id",
    "user_id",
    "target_auth_token",
    "target_auth_url",
    "target_project_id",
    "target_service_catalog",
    "target_user_id",
)


class St2AuthHandler:
    """Take the credential from the environment variable ST2_AUTH_TOKEN or ST2_API_KEY.

    If neither is set, the token that mistralclient was given is used.
    """

    def authenticate(self, req: Mapping[str, Any], session: Any = None) -> dict[str, Any]:
        """Return what mistralclient is to use for its requests.

        :param req: mistralclient's parameters.
        :param session: a session to use instead of a new one; its headers get the credential.
        :raises ConfigError: there is no credential, or it is invalid.
        """
        header, secret = _credential(os.environ, req)
        answer: dict[str, Any] = dict.fromkeys(_NOT_SENT)
        if session is None:
            tls = Tls(req.get("cacert") or None, bool(req.get("insecure")), ca_option="OS_CACERT")
            # It follows no redirects: mistralclient would send the credential to another host.
            session = answer["session"] = new_session(tls)
        session.headers[header] = secret
        return answer


def _credential(environment: Mapping[str, str], req: Mapping[str, Any]) -> tuple[str, str]:
    """Return the header and the value of the credential."""
    given = {
        _TOKEN_VARIABLE: environment.get(_TOKEN_VARIABLE),
        _KEY_VARIABLE: environment.get(_KEY_VARIABLE),
    }
    if all(given.values()):
        raise ConfigError(f"{_TOKEN_VARIABLE} and {_KEY_VARIABLE} are both set: unset one of them.")
    name = next((name for name, value in given.items() if value), _CLIENTS_TOKEN)
    secret = given.get(name) or req.get("auth_token")
    if not secret:
        raise ConfigError(
            f"There is no StackStorm credential. Set {_TOKEN_VARIABLE}, as 'st2 auth USER -t' prints"
            f" it, or {_KEY_VARIABLE}, as 'st2 apikey create -k' prints it."
        )
    if not isinstance(secret, str) or not is_header_text(secret):
        raise ConfigError(
            f"{name}: has a blank or a character that is not allowed in a header. Copy it again,"
            " without quotes."
        )
    return (KEY if name == _KEY_VARIABLE else TOKEN), secret
