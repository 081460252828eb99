"""Parse a call with its input in one line: ``std.echo output="Hello" delay=5``.

Mistral's parser accepts anything that looks like ``name=value`` anywhere in the line and ignores the
rest. This module gives the same result as Mistral for every line, valid or not: rewritten calls must
run with the input that Mistral would have used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from st2actions_mistral.errors import InputError

_NAME: Final = re.compile(r"""[\w.][^=(\s"]*""")
# A word, and "=" if the word is a key. The match always takes the whole word: otherwise a long word
# without "=" is tried again from each of its letters.
_WORD: Final = re.compile(r"([-\w]+)(=?)")
_PLAIN: Final = re.compile(r"true|false|null|\d+")


class InvalidCallError(InputError):
    """A line does not start with a name.

    :param call: the line.
    """

    def __init__(self, call: str) -> None:
        super().__init__("call", f"{call!r:.100} does not start with a name.")
        self.call = call


def parse(line: str) -> tuple[str, dict[str, Any]]:
    """Return the name in the line, which may be an expression, and the input.

    :raises InvalidCallError: the line does not start with a name.
    """
    name = name_of(line)
    if " " not in line:
        return name, {}
    given = {key: _value(line[at:stop]) for key, at, stop in _inputs(line) if stop is not None}
    return name, given


def name_of(line: str) -> str:
    """Return the name in the line.

    :raises InvalidCallError: the line does not start with a name.
    """
    if " " not in line:
        return line
    name = _NAME.match(line)
    end = name.end() if name else _end_of_expression(line)
    if end is None:
        raise InvalidCallError(line)
    return line[:end]


def ignored_inputs(line: str) -> list[str]:
    """List the names in a line whose value Mistral cannot parse, for example a bare word.

    Mistral ignores these inputs without an error.
    """
    return [key for key, _, stop in _inputs(line) if stop is None] if " " in line else []


def is_expression(text: str) -> bool:
    """Return True if a text contains an expression, YAQL or Jinja."""
    return "<%" in text or "{{" in text or "{%" in text


def _inputs(line: str) -> Iterator[tuple[str, int, int | None]]:
    """Yield each name with the start and the end of its value. The end is None if it has no value."""
    at = 0
    # Mistral searches from the start: in "a=1 b=2", "a" is an input as well.
    while word := _WORD.search(line, at):
        at = word.end()
        if word[2]:
            stop = _end_of_value(line, at)
            yield word[1], at, stop
            at = at if stop is None else stop


def _end_of_expression(line: str) -> int | None:
    """Return the end of an expression at the start of a line. Jinja extends to the last bracket."""
    return (
        _closed(line, 0, "<%", "%>")
        or _closed(line, 0, "{{", "}}", last=True)
        or _closed(line, 0, "{%", "%}", last=True)
    )


def _end_of_value(line: str, start: int) -> int | None:
    """Return the end of the value that starts at ``start``, or None if there is no value."""
    for quote in ('"', "'"):
        if line.startswith(quote, start):
            # Quotes cannot be escaped, and the text may have several lines.
            stop = line.find(quote, start + 1)
            return stop + 1 if stop >= 0 else None
    if plain := _PLAIN.match(line, start):
        return plain.end()
    return (
        _closed(line, start, "{{", "}}")
        or _closed(line, start, "<%", "%>")
        # A list extends to the last bracket of the line, whatever is in between.
        or _closed(line, start, "[", "]", last=True)
    )


def _closed(line: str, start: int, opening: str, closing: str, *, last: bool = False) -> int | None:
    """Return the end of a bracketed part of one line that starts at ``start``, or None."""
    if not line.startswith(opening, start):
        return None
    inside = start + len(opening)
    line_end = line.find("\n", inside)
    line_end = len(line) if line_end < 0 else line_end
    find = line.rfind if last else line.find
    stop = find(closing, inside, line_end)
    return stop + len(closing) if stop >= 0 else None


def _value(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
