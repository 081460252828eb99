"""What can be said in JSON, by everybody in between, and what becomes of the rest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.errors import InputError

DEEPEST: Final = 100
"""Levels of lists and objects that are passed on. Mistral 23 takes a result of 300 and answers 500 to
one of 500; from 250 objects on its YAQL fails the whole workflow (measured). MongoDB's own documents
have 100."""

_TOO_DEEP: Final = f"(nested deeper than {DEEPEST} levels, cut)"

# Python reads and writes integers of up to 4,300 digits.
_LARGEST_BITS: Final = 14_000

# A string, or what opens or closes a list or an object. A quote by itself opens a string that does not
# end: without it each further quote would be tried, each to the end of the text.
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]|"', re.DOTALL)


def check(name: str, value: Any) -> None:
    """See that JSON has a word for every part of a value.

    :param name: the input in question, as its author knows it.
    :raises InputError: it holds NaN or an infinity, which Python's own JSON lets pass and others do
        not, half a surrogate pair, which UTF-8 has no bytes for, more than :data:`DEEPEST` levels, an
        integer that Python does not write, or something like a set or a date. The text shows nothing
        of the value.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(name, "is nested too deeply to be sent as JSON.") from None
    except UnicodeEncodeError:
        raise InputError(name, "holds half of a surrogate pair, which is no character.") from None
    except ValueError:
        raise InputError(name, _why_not_json(value)) from None
    except TypeError as error:
        raise InputError(name, f"cannot be sent as JSON ({error}).") from None
    if _is_deeper(value, DEEPEST):
        raise InputError(name, f"is nested too deeply: more than {DEEPEST} levels.")


def _why_not_json(value: Any) -> str:
    """Return what is wrong with a value over which ``json`` raises a ValueError."""
    try:
        json.dumps(value)
    except ValueError:
        return "holds an integer of more than 4300 digits, or itself."
    return "holds NaN or an infinite number, which JSON does not have."


def decode(body: str | bytes) -> Any:
    """JSON as the other side wrote it, also where Python's own reader gives up.

    An integer that is too long for Python becomes the text of its digits. What is nested too deeply for
    Python is cut below :data:`DEEPEST` levels.

    :raises ValueError: it is no JSON.
    """
    try:
        return json.loads(body, parse_int=_integer)
    except RecursionError:
        text = body.decode() if isinstance(body, bytes) else body
        return json.loads(_shallow(text), parse_int=_integer)


def sanitize(value: Any, *, integer_bits: int = _LARGEST_BITS) -> tuple[Any, list[str]]:
    """A value as it is, with a text in the place of each part that JSON cannot say.

    :param integer_bits: larger integers become texts too.
    :return: the value, and what was replaced, in words; none for a value that is as it was.
    """
    replaced: dict[str, None] = {}
    return _sanitize(value, integer_bits, DEEPEST, replaced), list(replaced)


def _sanitize(value: Any, integer_bits: int, levels: int, replaced: dict[str, None]) -> Any:
    # In the order of how often they come.
    if isinstance(value, str):
        return _text(value, replaced)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() <= integer_bits:
            return value
        replaced[f"integers of more than {integer_bits} bits, by texts"] = None
        if value.bit_length() > _LARGEST_BITS:
            return f"(an integer of {value.bit_length()} bits, cut)"
        return str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        replaced["numbers that are not finite, by texts"] = None
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping | list | tuple):
        if levels == 0:
            replaced[f"what is nested deeper than {DEEPEST} levels, by a note"] = None
            return _TOO_DEEP
        if isinstance(value, Mapping):
            return {
                _text(str(key), replaced): _sanitize(item, integer_bits, levels - 1, replaced)
                for key, item in value.items()
            }
        return [_sanitize(item, integer_bits, levels - 1, replaced) for item in value]
    replaced["values that are no JSON, by notes"] = None
    return f"(a {type(value).__name__}, which is no JSON)"


def _text(text: str, replaced: dict[str, None]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        replaced["halves of surrogate pairs, by their escapes"] = None
        return text.encode(errors="backslashreplace").decode()
    return text


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return False
    items = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def _integer(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits


def _shallow(text: str) -> str:
    """JSON with a note in the place of each list and object below DEEPEST levels.

    :raises ValueError: it ends within a string, a list or an object.
    """
    pieces, depth, begin = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] == '"':
            raise ValueError("the text ends within a string")
        sign = text[token.start()]
        if sign in "[{":
            depth += 1
            if depth == DEEPEST + 1:
                pieces.append(text[begin : token.start()])
        elif sign in "]}":
            if depth == DEEPEST + 1:
                pieces.append(json.dumps(_TOO_DEEP))
                begin = token.end()
            depth -= 1
    if depth > 0:
        raise ValueError("the text ends within a list or an object")
    return "".join([*pieces, text[begin:]])
