"""What may be shown of a request and its answer."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

# How much of the other side's words goes into an error text. StackStorm's messages are a sentence
# or two; Mistral's may hold a whole traceback.
_MESSAGE_CHARACTERS: Final = 500

_SECRET_HEADERS: Final = ("St2-Api-Key", "X-Auth-Token", "Authorization")

# One character as JSON writes it, once or in a text within a text, or a URL.
_SIGN: Final = re.compile(
    r"\\*(?:(?<=\\)u([0-9a-f]{4})|%([0-9a-f]{2})|([^\\])|\Z)", re.DOTALL | re.IGNORECASE
)

# StackStorm names the hash of an API key that it does not know.
_KEY_HASH: Final = re.compile(r"(key_hash=)\w+")


def url(address: str) -> str:
    """A URL without user, query and fragment."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        host = ""
    if not host or "@" in parts.path:
        # Without a host the rest may be anything, a password included; and so may what is before an @.
        return "(malformed URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}"


def secrets(text: str, headers: Mapping[str, str]) -> str:
    """A text without what let the request in: some answer with the whole of what they were asked.

    It is found also as JSON may write it, with escapes, and as a URL may.
    """
    for name in _SECRET_HEADERS:
        for secret in _secrets_of(headers.get(name) or ""):
            text = text.replace(secret, "…")
            if "\\" in text or "%" in text:
                text = _without_escaped(text, secret)
    return text


def _secrets_of(value: str) -> Iterator[str]:
    """What is secret in the value of a header."""
    scheme, _, secret = value.rpartition(" ")
    if secret:
        # "Basic …" is named without its first word too.
        yield secret
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            _, _, password = base64.b64decode(secret).decode().partition(":")
            if password:
                yield password


def _without_escaped(text: str, secret: str) -> str:
    """A text without a secret that is written with escapes."""
    wanted, _ = _unescaped(secret)
    signs, starts = _unescaped(text)
    pieces, done = [], 0
    at = signs.find(wanted) if wanted else -1
    while at >= 0:
        pieces += [text[done : starts[at]], "…"]
        done = starts[at + len(wanted)]
        at = signs.find(wanted, at + len(wanted))
    return "".join([*pieces, text[done:]])


def _unescaped(text: str) -> tuple[str, list[int]]:
    """The characters that a text stands for, and where each of them begins; and last where it ends.

    Backslashes are left out: before one that is meant there may be any number of others.
    """
    signs, starts = [], []
    for match in _SIGN.finditer(text):
        code = match[1] or match[2]
        sign = chr(int(code, 16)) if code else match[3]
        if sign and sign != "\\":
            signs.append(sign)
            starts.append(match.start())
    return "".join(signs), [*starts, len(text)]


def message(body: str) -> str:
    """The other side's own words in an error body: ``faultstring`` where there is one, in one line
    without signs that would steer a terminal, cut."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    words = parsed.get("faultstring") if isinstance(parsed, dict) else None
    text = words if isinstance(words, str) else body
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(text.split()))
    text = _KEY_HASH.sub(r"\1…", text)
    return text if len(text) <= _MESSAGE_CHARACTERS else f"{text[:_MESSAGE_CHARACTERS]}…"
