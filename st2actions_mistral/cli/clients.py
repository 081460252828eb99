"""The two systems as a command asks them: once, and an error names the options to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from st2actions_mistral.client.api import Api
from st2actions_mistral.client.credentials import Anonymous, MistralCredential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import MistralSettings, St2Settings, without_retries
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import Settings
from st2actions_mistral.errors import (
    Answered,
    ConfigError,
    InputError,
    OutcomeUnknown,
    RemoteError,
)

_WHERE: Final = (
    "[st2] api_url and [st2_relay] mistral_url say where the two systems are, and no [st2] api_key is"
    " set. (Is this the right --config-file?)"
)

# Methods of the calls that change something.
_CHANGES: Final = ("POST", "PUT", "DELETE")


@contextmanager
def both(settings: Settings) -> Iterator[tuple[St2Client, MistralClient]]:
    """Clients that try each call once: a system that is away is told at once, and not after a minute.

    :raises ConfigError: an option has to be why a system does not answer.
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
            absent = isinstance(error, Answered) and error.status == 404
            if absent and error.url.startswith(f"{mistral_settings.url}/"):
                needs_mistral(mistral_settings, credential)
            if not _has_credential(st2_settings):
                raise ConfigError(f"{error} {_WHERE}") from error
            raise


@contextmanager
def safe_to_repeat() -> Iterator[None]:
    """Around what is done once, however often it is asked for: an error says so where it is in doubt.

    :raises OutcomeUnknown: a call that changes something, or a look at what became of it, has failed.
    """
    try:
        yield
    except RemoteError as error:
        if not _in_doubt(error):
            raise
        raise OutcomeUnknown(
            error.method,
            error.url,
            f"{error.reason} It may have been done all the same. Run this again, which is safe.",
        ) from error


def _in_doubt(error: BaseException | None) -> bool:
    # The failure of a look has in its context what made the look necessary.
    while error is not None:
        if isinstance(error, OutcomeUnknown) and error.method in _CHANGES:
            return True
        error = error.__context__
    return False


def needs_credential(settings: St2Settings) -> None:
    """:raises ConfigError: there is none, most likely because this is no configuration of ours."""
    if not _has_credential(settings):
        raise ConfigError(
            "no credential: set [st2] api_key, as 'st2 apikey create -k' prints it. (Is this the"
            " right --config-file?)"
        )


def needs_mistral(settings: MistralSettings, credential: MistralCredential | None) -> None:
    """Ask whoever did not know something that Mistral should know whether it is Mistral.

    :raises ConfigError: it is not: its root gives no ``uri``.
    :raises RemoteError: it does not answer at all.
    """
    with closing(
        Api(settings.url, new_session(settings.tls), credential or Anonymous(""), settings.timeouts)
    ) as api:
        try:
            api.once("GET", "/", texts=["uri"])
        except (Answered, OutcomeUnknown) as error:
            # 401 and the like tell nothing: Mistral's own are no different.
            if isinstance(error, Answered) and error.status != 404:
                return
            raise ConfigError(
                f"{settings.url} does not answer as Mistral does: is [st2_relay] mistral_url Mistral's,"
                " such as http://127.0.0.1:8989/v2?"
            ) from error


def unknown_to_mistral(settings: Settings, given: str, reason: str) -> InputError:
    """The error to raise for an id that Mistral does not know.

    :raises ConfigError: whoever does not know it is not Mistral.
    :raises RemoteError: it does not answer at all.
    """
    needs_mistral(without_retries(settings.mistral), settings.credential)
    return InputError(given, reason)


def _has_credential(settings: St2Settings) -> bool:
    credential = settings.credential
    return bool(credential.api_key or credential.auth_token or credential.username)
