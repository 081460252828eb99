"""Settings of the clients. They are frozen and hashable, and their repr shows no secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar
from urllib.parse import urlsplit

from st2actions_mistral.errors import ConfigError

_HEADER_TEXT: Final = re.compile(r"[!-~]+")

ST2_API_PORT: Final = 9101
ST2_STREAM_PORT: Final = 9102


@dataclass(frozen=True)
class Tls:
    """The check of a server's certificate."""

    cafile: str | None = None
    """A file of CA certificates in PEM; None: those of the certifi package."""
    insecure: bool = False
    """Accept any certificate."""
    ca_option: str = field(default="the CA file", compare=False)
    """The name of the option for ``cafile``, for messages."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait."""

    connect_timeout: float = 5
    """For a connection."""
    read_timeout: float = 30
    """For the next byte of a response."""
    retry_deadline: float = 60
    """For all attempts of one call. The last attempt may outlast it by its timeouts."""


@dataclass(frozen=True)
class CredentialNames:
    """The names of a credential's options, for messages. The defaults fit any other source."""

    api_key: str = "the API key"
    auth_token: str = "the token"  # noqa: S105 - a name
    username: str = "the user"
    password: str = "the password"  # noqa: S105 - a name
    auth_url: str = "the URL of the auth service"


@dataclass(frozen=True)
class Credential:
    """A credential for StackStorm: an API key, a token, or user and password.

    :raises ConfigError: the fields contradict each other.
    """

    api_key: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    auth_url: str | None = None
    """The URL under which ``POST /tokens`` is, such as ``https://st2.example/auth/v1``."""
    names: CredentialNames = field(default=CredentialNames(), repr=False, compare=False)

    def __post_init__(self) -> None:
        names = self.names
        headers = ((names.api_key, self.api_key), (names.auth_token, self.auth_token))
        given = [name for name, value in (*headers, (names.username, self.username)) if value]
        if len(given) > 1:
            raise ConfigError(
                f"{' and '.join(given)} are set: keep one of {names.api_key}, {names.auth_token}, and"
                f" {names.username} with {names.password}."
            )
        for name, value in headers:
            if value and not is_header_text(value):
                raise ConfigError(
                    f"{name}: has a blank or a character that is not allowed in a header."
                    " Copy it again, without quotes."
                )
        if bool(self.username) != bool(self.password):
            raise ConfigError(
                f"{names.username} and {names.password} belong together: set both or neither."
            )
        if self.username and not self.auth_url:
            raise ConfigError(
                f"{names.auth_url} is missing, which {names.username} and {names.password} need: the"
                " URL of StackStorm's auth service, such as https://HOST/auth/v1 or http://HOST:9100."
            )


@dataclass(frozen=True)
class St2Settings:
    """StackStorm's API and the credential for it."""

    api_url: str = f"http://127.0.0.1:{ST2_API_PORT}/v1"
    credential: Credential = Credential()
    stream_url: str | None = None
    """None: derived from ``api_url``, see :meth:`stream`."""
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()

    def stream(self) -> str:
        """Return the URL of the event stream.

        StackStorm's nginx has ``…/stream/v1/stream`` beside ``…/api/v1``. Without nginx, the stream
        service listens on the port after the API's.
        """
        if self.stream_url:
            return self.stream_url
        parts = urlsplit(self.api_url)
        prefix, api, _ = parts.path.rpartition("/api/v1")
        if api:
            return parts._replace(path=f"{prefix}/stream/v1/stream").geturl()
        if parts.port == ST2_API_PORT and parts.hostname:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            netloc = f"{host}:{ST2_STREAM_PORT}"
            return parts._replace(netloc=netloc, path="/v1/stream").geturl()
        return f"{self.api_url}/stream"


@dataclass(frozen=True)
class MistralSettings:
    """Mistral's API. The credential is passed to ``client.mistral.MistralClient`` separately."""

    url: str = "http://127.0.0.1:8989/v2"
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()


_Settings = TypeVar("_Settings", St2Settings, MistralSettings)


def cap_deadline(settings: _Settings, seconds: float) -> _Settings:
    """Return the settings with a ``retry_deadline`` of at most ``seconds``."""
    deadline = min(settings.timeouts.retry_deadline, seconds)
    return replace(settings, timeouts=replace(settings.timeouts, retry_deadline=deadline))


def without_retries(settings: _Settings) -> _Settings:
    """Return the settings for a caller that wants to see the first error."""
    return cap_deadline(settings, 0)


def is_header_text(text: str) -> bool:
    """Return True for visible ASCII without blanks, which every HTTP client can put into a header."""
    return bool(_HEADER_TEXT.fullmatch(text))


def checked_url(option: str, url: str) -> str:
    """Return ``url`` without a trailing slash.

    :param option: its name, for the error.
    :raises ConfigError: it is not a plain http(s) URL. User and password in it would end up in logs;
        there are options for them.
    """
    # Anywhere in it: before an @ there may be a password with a slash.
    if "@" in url:
        raise ConfigError(
            f"{option}: must not contain an @. There are options for user and password. Write %40 for"
            " an @ in a path."
        )
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        # The text of the error would show a part of the URL.
        raise ConfigError(f"{option}: is not a URL: its host or port is invalid.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{option}: {url!r:.200} is not an http or https URL, such as http://127.0.0.1:9101/v1."
        )
    if "?" in url or "#" in url:
        raise ConfigError(f"{option}: must not have a query or a fragment.")
    return url.rstrip("/")
