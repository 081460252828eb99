"""What may be shown of a request and its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

# How much of the other side's words goes into an error text. StackStorm's messages are a sentence
# or two; Mistral's may hold a whole traceback.
_MESSAGE_CHARACTERS: Final = 500

_SECRET_HEADERS: Final = ("St2-Api-Key", "X-Auth-Token", "Authorization")

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
    if not host:
        # Without a host the rest may be anything, a password included.
        return "(malformed URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}"


def secrets(text: str, headers: Mapping[str, str]) -> str:
    """A text without what let the request in: some answer with the whole of what they were asked."""
    for name in _SECRET_HEADERS:
        value = headers.get(name)
        if value:
            # "Basic …" is named without its first word too.
            text = text.replace(value.split()[-1], "…")
    return text


def message(body: str) -> str:
    """The other side's own words in an error body: ``faultstring`` where there is one, cut."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    words = parsed.get("faultstring") if isinstance(parsed, dict) else None
    text = words if isinstance(words, str) else body
    text = _KEY_HASH.sub(r"\1…", " ".join(text.split()))
    return text if len(text) <= _MESSAGE_CHARACTERS else f"{text[:_MESSAGE_CHARACTERS]}…"
