"""Read and write JSON as StackStorm's encoder, orjson, does."""

from __future__ import annotations

import json
from typing import Any


def to_json(value: Any) -> str:
    """Encode compactly and without escapes; NaN becomes null."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False)


def from_json(text: str | bytes) -> Any:
    """Decode JSON.

    :raises ValueError: the text is not JSON. NaN, Infinity and lone surrogates are not.
    """
    value = json.loads(text, parse_constant=_reject_constant)
    if (b"\\u" in text) if isinstance(text, bytes) else ("\\u" in text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
