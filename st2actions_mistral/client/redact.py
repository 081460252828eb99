"""Remove secrets from URLs, messages and whatever else is shown of a request or response."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

# Characters of a server's message in an error. StackStorm's messages are a sentence or two. Mistral's
# may hold a whole traceback.
_MESSAGE_CHARACTERS: Final = 500

_SECRET_HEADERS: Final = ("St2-Api-Key", "X-Auth-Token", "Authorization")

# One character as JSON writes it, also in a string inside a string, or as a URL does.
_CHARACTER: Final = re.compile(
    r"\\*(?:(?<=\\)u([0-9a-f]{4})|%([0-9a-f]{2})|([^\\])|\Z)", re.DOTALL | re.IGNORECASE
)

# StackStorm's message for an unknown API key contains its hash.
_KEY_HASH: Final = re.compile(r"(key_hash=)\w+")


def url(address: str) -> str:
    """Return a URL without user, query and fragment."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        host = ""
    if not host or "@" in parts.path:
        # Without a host the rest may be anything, including a password. So may the text before an @.
        return "(malformed URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}"


def secrets(text: str, headers: Mapping[str, str]) -> str:
    """Return a text without the credential of a request. Some servers repeat the whole request.

    The credential is also found with the escapes of JSON or of a URL.

    :param headers: of the request.
    """
    for name in _SECRET_HEADERS:
        for secret in _secrets_of(headers.get(name) or ""):
            text = text.replace(secret, "…")
            if "\\" in text or "%" in text:
                text = _without_escaped(text, secret)
    return text


def _secrets_of(value: str) -> Iterator[str]:
    """Yield the secrets in the value of a header."""
    scheme, _, secret = value.rpartition(" ")
    if secret:
        # The server may repeat "Basic …" without its first word.
        yield secret
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            _, _, password = base64.b64decode(secret).decode().partition(":")
            if password:
                yield password


def _without_escaped(text: str, secret: str) -> str:
    """Return a text without a secret that is written with escapes."""
    wanted, _ = _unescaped(secret)
    characters, starts = _unescaped(text)
    pieces, done = [], 0
    at = characters.find(wanted) if wanted else -1
    while at >= 0:
        pieces += [text[done : starts[at]], "…"]
        done = starts[at + len(wanted)]
        at = characters.find(wanted, at + len(wanted))
    return "".join([*pieces, text[done:]])


def _unescaped(text: str) -> tuple[str, list[int]]:
    """Return the unescaped text, and the positions of its characters and of its end in ``text``.

    Backslashes are dropped, because any number of them may stand for one.
    """
    characters, starts = [], []
    for match in _CHARACTER.finditer(text):
        code = match[1] or match[2]
        character = chr(int(code, 16)) if code else match[3]
        if character and character != "\\":
            characters.append(character)
            starts.append(match.start())
    return "".join(characters), [*starts, len(text)]


def message(body: str) -> str:
    """Return the message in the body of an error response: its ``faultstring``, else all of it.

    It is one line without control characters, truncated.
    """
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    fault = parsed.get("faultstring") if isinstance(parsed, dict) else None
    line = " ".join((fault if isinstance(fault, str) else body).split())
    text = "".join(character if character.isprintable() else "\ufffd" for character in line)
    text = _KEY_HASH.sub(r"\1…", text)
    return text if len(text) <= _MESSAGE_CHARACTERS else f"{text[:_MESSAGE_CHARACTERS]}…"
