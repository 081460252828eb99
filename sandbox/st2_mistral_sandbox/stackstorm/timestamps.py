"""Timestamps, ids and JSON in StackStorm's notation."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import time
from datetime import datetime, timezone
from typing import Any

from st2_mistral_sandbox.stackstorm.fault import bad_request

_counter = itertools.count(secrets.randbelow(1 << 23))
_PROCESS = secrets.token_hex(5)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,6})?\s*(?:Z|[+-]00:?(?:00)?|UTC)?\Z")


def now() -> datetime:
    return datetime.now(timezone.utc)


def iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def milliseconds(moment: datetime) -> datetime:
    """What is left of a timestamp inside a stored document: MongoDB keeps milliseconds."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def parse(text: str) -> datetime:
    """Raises Fault 400 in StackStorm's words."""
    match = _ISO.match(text.strip())
    if match is None:
        raise bad_request("Datetime value does not match expected format.")
    day, clock, fraction = match.groups()
    try:
        return datetime.strptime(f"{day} {clock}{fraction or '.0'} +0000", "%Y-%m-%d %H:%M:%S.%f %z")
    except ValueError:
        raise bad_request("Datetime value does not match expected format.") from None


def new_id() -> str:
    """24 hexadecimal digits that sort by time, as MongoDB's object ids do."""
    return f"{int(time.time()):08x}{_PROCESS}{next(_counter) & 0xFFFFFF:06x}"


def to_json(value: Any) -> str:
    """Compact and unescaped, as StackStorm's encoder (orjson) writes it; NaN becomes null."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False)


def from_json(text: str | bytes) -> Any:
    """Strict: NaN, Infinity and half a surrogate pair are no JSON. Raises ValueError."""
    value = json.loads(text, parse_constant=_refuse_constant)
    if (b"\\u" if isinstance(text, bytes) else "\\u") in text:  # type: ignore[operator]
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
