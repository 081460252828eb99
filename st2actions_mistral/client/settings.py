"""What the clients need to know. Frozen, hashable, and silent about secrets in their repr."""

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
    """How a server's certificate is checked."""

    cafile: str | None = None
    """A file of CA certificates in PEM; None: the ones that requests brings."""
    insecure: bool = False
    """Take any certificate."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait."""

    connect_timeout: float = 5
    """For a connection."""
    read_timeout: float = 30
    """For the next byte of an answer."""
    retry_deadline: float = 60
    """Over all tries of one call. A try that has begun may outlast it by its timeouts."""


@dataclass(frozen=True)
class Credential:
    """One way in: an API key, a token, or user and password at an ``auth_url``."""

    api_key: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    auth_url: str | None = None
    """Where ``POST /tokens`` is, e.g. ``https://st2.example/auth/v1``."""

    def __post_init__(self) -> None:
        ways = [
            name
            for name, given in (
                ("api_key", self.api_key),
                ("auth_token", self.auth_token),
                ("username", self.username),
            )
            if given
        ]
        if len(ways) > 1:
            raise ConfigError(
                f"[st2] {' and '.join(ways)} are set: keep one of api_key, auth_token, and username"
                " with password."
            )
        for name, value in (("api_key", self.api_key), ("auth_token", self.auth_token)):
            if value and not is_header_text(value):
                raise ConfigError(
                    f"[st2] {name}: holds a blank or a character that no header can carry. Copy it"
                    " again, without quotes."
                )
        if bool(self.username) != bool(self.password):
            raise ConfigError("[st2] username and password go together: set both or neither.")
        if self.username and not self.auth_url:
            raise ConfigError(
                "[st2] auth_url is needed with username and password: the URL under which"
                " StackStorm's auth service is, such as https://HOST/auth/v1 or http://HOST:9100."
            )


@dataclass(frozen=True)
class St2Settings:
    """StackStorm's API, and how to get in."""

    api_url: str = f"http://127.0.0.1:{ST2_API_PORT}/v1"
    credential: Credential = Credential()
    stream_url: str | None = None
    """None: derived from ``api_url``, see :meth:`stream`."""
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()

    def stream(self) -> str:
        """The URL of the event stream.

        Behind StackStorm's nginx ``…/api/v1`` has ``…/stream/v1/stream`` beside it; without it, the
        stream service listens on the port next to the API's.
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
    """Mistral's API. Who we are there is the session's business, see ``client.mistral``."""

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
    """Whether every HTTP client can put it into a header as it is: visible ASCII, no blanks."""
    return bool(_HEADER_TEXT.fullmatch(text))


def checked_url(option: str, url: str) -> str:
    """``url`` without a trailing slash.

    :param option: its name, for the error.
    :raises ConfigError: where it is no plain http(s) URL. User and password in it would end up in
        logs; they have options of their own.
    """
    # Wherever it stands: in front of it there may be a password with a slash.
    if "@" in url:
        raise ConfigError(
            f"{option}: must not hold an @, as between a password and a host; there are options for"
            " user and password. In a path, write %40."
        )
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        # The text of the error would show a part of it.
        raise ConfigError(f"{option}: not a URL, its host or its port is none.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{option}: {url!r:.200} is not an http or https URL, such as http://127.0.0.1:9101/v1."
        )
    if "?" in url or "#" in url:
        raise ConfigError(f"{option}: must not have a query or a fragment.")
    return url.rstrip("/")
