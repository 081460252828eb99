"""Check, read and repair values that travel as JSON.

Every system on the way has limits of its own, which the constants here respect.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.errors import InputError

MAX_DEPTH: Final = 100
"""Levels of lists and objects that are passed on.

Mistral 23 accepts a result of 300 levels and answers 500 for 500. From 250 levels of objects on,
its YAQL fails the whole workflow (measured). MongoDB's documents have at most 100.
"""

_TOO_DEEP: Final = f"(nested deeper than {MAX_DEPTH} levels, truncated)"

# Python reads and writes integers of up to 4,300 digits.
_LARGEST_BITS: Final = 14_000

# A string, or the start or end of a list or an object. A single quote starts a string without an end.
# Without it, every further quote would be tried, each to the end of the text.
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]|"', re.DOTALL)


def check(name: str, value: Any) -> None:
    """Check that a value can be sent as JSON.

    :param name: the input, as its author knows it.
    :raises InputError: it has NaN or an infinity, which only Python's JSON accepts, half a surrogate
        pair, which UTF-8 cannot encode, more than :data:`MAX_DEPTH` levels, an integer that Python does
        not write, or an object such as a set or a date. The message shows nothing of the value.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(name, "is nested too deeply to be sent as JSON.") from None
    except UnicodeEncodeError:
        raise InputError(name, "holds half a surrogate pair, which is not a character.") from None
    except ValueError:
        raise InputError(name, _why_not_json(value)) from None
    except TypeError as error:
        raise InputError(name, f"cannot be sent as JSON ({error}).") from None
    if _is_deeper(value, MAX_DEPTH):
        raise InputError(name, f"is nested too deeply: more than {MAX_DEPTH} levels.")


def _why_not_json(value: Any) -> str:
    """Return what is wrong with a value over which ``json`` raises a ValueError."""
    try:
        json.dumps(value)
    except ValueError:
        return "holds an integer of more than 4300 digits, or itself."
    return "holds NaN or an infinite number, which JSON does not have."


def decode(body: str | bytes) -> Any:
    """Return decoded JSON, also where Python's own decoder fails.

    An integer that is too long for Python becomes a string of its digits. JSON that is nested too
    deeply for Python is truncated below :data:`MAX_DEPTH` levels.

    :raises ValueError: it is not JSON.
    """
    try:
        return json.loads(body, parse_int=_integer)
    except RecursionError:
        text = body.decode() if isinstance(body, bytes) else body
        return json.loads(_shallow(text), parse_int=_integer)


def sanitize(value: Any, *, integer_bits: int = _LARGEST_BITS) -> tuple[Any, list[str]]:
    """Return a value in which strings replace whatever JSON does not have.

    :param integer_bits: larger integers become strings too.
    :return: the value, and descriptions of what was replaced; none for an unchanged value.
    """
    replaced: dict[str, None] = {}
    return _sanitize(value, integer_bits, MAX_DEPTH, replaced), list(replaced)


def _sanitize(value: Any, integer_bits: int, levels: int, replaced: dict[str, None]) -> Any:
    # The most frequent types first.
    if isinstance(value, str):
        return _text(value, replaced)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() <= integer_bits:
            return value
        replaced[f"integers of more than {integer_bits} bits, by strings"] = None
        if value.bit_length() > _LARGEST_BITS:
            return f"(an integer of {value.bit_length()} bits, truncated)"
        return str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        replaced["numbers that are not finite, by strings"] = None
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (Mapping, list, tuple)):
        if levels == 0:
            replaced[f"values nested deeper than {MAX_DEPTH} levels, by notes"] = None
            return _TOO_DEEP
        if isinstance(value, Mapping):
            return {
                _text(str(key), replaced): _sanitize(item, integer_bits, levels - 1, replaced)
                for key, item in value.items()
            }
        return [_sanitize(item, integer_bits, levels - 1, replaced) for item in value]
    replaced["values that are not JSON, by notes"] = None
    return f"(a {type(value).__name__}, which is not JSON)"


def _text(text: str, replaced: dict[str, None]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        replaced["halves of surrogate pairs, by their escapes"] = None
        return text.encode(errors="backslashreplace").decode()
    return text


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, (Mapping, list, tuple)):
        return False
    items = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def _integer(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits


def _shallow(text: str) -> str:
    """Return JSON with a note in the place of each list and object below MAX_DEPTH levels.

    :raises ValueError: it ends within a string, a list or an object.
    """
    pieces, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] == '"':
            raise ValueError("the text ends within a string")
        sign = text[token.start()]
        if sign in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                pieces.append(text[start : token.start()])
        elif sign in "]}":
            if depth == MAX_DEPTH + 1:
                pieces.append(json.dumps(_TOO_DEEP))
                start = token.end()
            depth -= 1
    if depth > 0:
        raise ValueError("the text ends within a list or an object")
    return "".join([*pieces, text[start:]])
