"""The clients of both systems for a command: they do not retry, and errors name the options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

from st2actions_mistral.client.api import Api
from st2actions_mistral.client.auth import Anonymous, MistralCredential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import (
    MistralSettings,
    St2Settings,
    Timeouts,
    Tls,
    without_retries,
)
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings, Settings
from st2actions_mistral.errors import (
    Answered,
    ConfigError,
    InputError,
    OutcomeUnknown,
    RemoteError,
)
from st2actions_mistral.model import project

_NO_CREDENTIAL: Final = (
    "No [st2] api_key is set. [st2] api_url and [st2_relay] mistral_url say where the two systems are."
    " (Is this the right --config-file?)"
)

# Seconds for a relay on this host to respond.
_HEALTH_TIMEOUT: Final = 2.0

_CHANGING_METHODS: Final = ("POST", "PUT", "DELETE")


@contextmanager
def open_clients(settings: Settings) -> Iterator[tuple[St2Client, MistralClient]]:
    """Open clients that do not retry: a command reports at once that a system does not respond.

    :raises ConfigError: an option is the likely reason for an error.
    """
    st2_settings = without_retries(settings.st2)
    mistral_settings = without_retries(settings.mistral)
    credential = settings.credential
    with (
        closing(St2Client(st2_settings)) as st2,
        closing(MistralClient(mistral_settings, credential=credential)) as mistral,
    ):
        try:
            yield st2, mistral
        except RemoteError as error:
            if error.status == 404 and error.url.startswith(f"{mistral_settings.url}/"):
                require_mistral(mistral_settings, credential)
            if not _has_credential(st2_settings):
                raise ConfigError(f"{error} {_NO_CREDENTIAL}") from error
            raise


def project_clients(mistral: MistralClient, relay: RelaySettings) -> ProjectClients:
    """Return the clients for all projects, as the relay has them."""
    return ProjectClients(mistral, trusts=relay.project_auth == project.TRUST)


@contextmanager
def advise_repeating() -> Iterator[None]:
    """Say that a command may be repeated where the outcome of a change is unknown.

    :raises OutcomeUnknown: a changing request, or the request for its outcome, failed.
    """
    try:
        yield
    except RemoteError as error:
        if not _is_in_doubt(error):
            raise
        raise OutcomeUnknown(
            error.method,
            error.url,
            f"{error.reason} The change may have happened. It is safe to run the command again.",
        ) from error


def _is_in_doubt(error: BaseException | None) -> bool:
    # The failed request for an outcome has the failed change as its context.
    while error is not None:
        if isinstance(error, OutcomeUnknown) and error.method in _CHANGING_METHODS:
            return True
        error = error.__context__
    return False


def require_credential(settings: St2Settings) -> None:
    """Check that there is a credential: without one, this is most likely the wrong configuration.

    :raises ConfigError: there is none.
    """
    if not _has_credential(settings):
        raise ConfigError(
            "There is no credential for StackStorm: set [st2] api_key, as 'st2 apikey create -k' prints"
            " it (with RBAC, the user who creates it needs the role admin, or a role with"
            " api_key_create). Is this the right --config-file?"
        )


def require_mistral(settings: MistralSettings, credential: MistralCredential | None) -> None:
    """Check that a server is Mistral, after it did not know something that Mistral knows.

    :raises ConfigError: it is not Mistral: the response for its root has no ``uri``.
    :raises RemoteError: it does not respond.
    """
    with closing(
        Api(settings.url, new_session(settings.tls), credential or Anonymous(""), settings.timeouts)
    ) as api:
        try:
            api.once("GET", "/", texts=["uri"])
        except (Answered, OutcomeUnknown) as error:
            # A 401 or 403 tells nothing: Mistral sends them too.
            if isinstance(error, Answered) and error.status != 404:
                return
            raise ConfigError(
                f"{settings.url} does not respond as Mistral does. Set [st2_relay] mistral_url to"
                " Mistral's URL, such as http://127.0.0.1:8989/v2."
            ) from error


def failures_of_relay(port: int) -> dict[str, dict[str, Any]]:
    """Ask the relay on this host for what it failed to handle.

    :param port: ``[st2_relay] health_port``; 0: there is none to ask.
    :return: as ``/failing`` shows it, see ``relay.health.HealthServer``; empty if no relay responds.
    """
    if not port:
        return {}
    timeouts = Timeouts(_HEALTH_TIMEOUT, _HEALTH_TIMEOUT, retry_deadline=0)
    with (
        closing(Api(f"http://127.0.0.1:{port}", new_session(Tls()), Anonymous(), timeouts)) as api,
        suppress(RemoteError),
    ):
        found: dict[str, dict[str, Any]] = api.once("GET", "/failing")
        return found
    return {}


def unknown_to_mistral(settings: Settings, given: str, reason: str) -> InputError:
    """Return the error for an id that Mistral does not know.

    :raises ConfigError: the server is not Mistral.
    :raises RemoteError: it does not respond.
    """
    require_mistral(without_retries(settings.mistral), settings.credential)
    return InputError(given, reason)


def _has_credential(settings: St2Settings) -> bool:
    credential = settings.credential
    return bool(credential.api_key or credential.auth_token or credential.username)
