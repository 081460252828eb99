"""Let Mistral's API authenticate its users at StackStorm: ``[DEFAULT] auth_type = st2``.

Mistral creates one object of the class for each process, and calls it for each request except those for
its versions.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any, Final

from oslo_config import cfg
from webob import exc

from st2actions_mistral.auth.access import identity_of
from st2actions_mistral.auth.checker import Checker
from st2actions_mistral.auth.headers import Identity, put, take
from st2actions_mistral.auth.refusal import NeedsTrust, Refusal, Rejected, Unavailable
from st2actions_mistral.auth.users import Users
from st2actions_mistral.config.auth import AuthSettings, load_auth_settings
from st2actions_mistral.errors import ConfigError

LOG: Final = logging.getLogger(__name__)

# Mistral starts their workflows with a keystone trust of the user.
_WITH_TRUSTS: Final = ("/cron_triggers", "/event_triggers")
_USE_A_RULE: Final = (
    "Cron triggers and event triggers need keystone. Use a rule of StackStorm instead, with"
    " core.st2.CronTimer or another trigger, and an action of the runner mistral-v2."
)


class St2AuthHandler:
    """Authenticate a request with the StackStorm token or API key that it carries."""

    def __init__(self) -> None:
        # Nothing is read here: for an error Mistral would answer 401, with a traceback in its log.
        self._lock = threading.Lock()
        self._ready: tuple[AuthSettings, Checker] | None = None

    def authenticate(self, req: Any) -> None:
        """Put the user, the project and the roles into the request's environment.

        :param req: a ``webob.Request``. Its credential is removed.
        """
        try:
            given = take(req.environ)
            settings, checker = self._settings()
            user = checker.user(given.credential)
            identity: Identity = identity_of(user, settings, req.method, given.project_id)
            if req.method == "POST" and req.path.rstrip("/").endswith(_WITH_TRUSTS):
                raise NeedsTrust(_USE_A_RULE)
        except Refusal as refusal:
            # Neither the request nor the credential is in the traceback of another exception.
            answer = Answer(response(refusal))
        else:
            put(req.environ, identity)
            return
        raise answer

    def _settings(self) -> tuple[AuthSettings, Checker]:
        with self._lock:
            if self._ready is None:
                try:
                    settings = load_auth_settings(cfg.CONF)
                except ConfigError as error:
                    LOG.error("Mistral cannot authenticate anybody: %s", error)
                    raise Unavailable(
                        "Mistral's authentication is not configured: see the log of its API."
                    ) from error
                self._ready = settings, Checker(settings, Users(settings))
            return self._ready


class Answer(Exception):
    """Carries a response through Mistral's hook, which turns every exception into a 401.

    The hook of Mistral 20 to 23 first asks for the text of the exception. That raises the response,
    which is the exception that pecan sends. A Mistral that does not ask answers 401.
    """

    def __init__(self, http_response: exc.HTTPException) -> None:
        super().__init__()
        self._response = http_response

    def __str__(self) -> str:
        raise self._response


def response(refusal: Refusal) -> exc.HTTPException:
    """Return the response of Mistral's API to a request that is not let through."""
    message = str(refusal)
    body = {"faultcode": "Client", "faultstring": message, "debuginfo": None}
    # The header is where the command line mistral finds the message. It must be ASCII, in one line.
    headers = {"Server-Error-Message": message.encode("ascii", "replace").decode()}
    if isinstance(refusal, Rejected):
        headers["WWW-Authenticate"] = "StackStorm"
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    made = exc.status_map[refusal.status](
        detail=message, headers=headers, content_type="application/json", charset="UTF-8"
    )
    made.text = json.dumps(body)
    return made
