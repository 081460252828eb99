"""An action with its input in one line: ``std.echo output="Hello" delay=5``.

Mistral's reading of such a line is more lenient than any grammar: whatever looks like ``name=value``
somewhere in it counts, and all the rest is passed over in silence. This module reads every line as
Mistral does, the odd ones too, for what it makes of a line is what Mistral would have run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from st2actions_mistral.errors import InputError

_NAME: Final = re.compile(r"""[\w.][^=(\s"]*""")
# All that can be a key, and whether it is one: read to its end in any case, so that a long word without
# "=" is not tried again from each of its letters.
_WORD: Final = re.compile(r"([-\w]+)(=?)")
_PLAIN: Final = re.compile(r"true|false|null|\d+")


def parse(line: str) -> tuple[str, dict[str, Any]]:
    """The name of the action, which may be an expression, and its input.

    :raises InputError: the line begins with nothing that can be a name.
    """
    name = name_of(line)
    if " " not in line:
        return name, {}
    given = {key: _value(line[at:stop]) for key, at, stop in _inputs(line) if stop is not None}
    return name, given


def name_of(line: str) -> str:
    """The name of the action, without a look at its input; see :func:`parse`."""
    if " " not in line:
        return line
    name = _NAME.match(line)
    end = name.end() if name else _expression_as_name(line)
    if end is None:
        raise InputError("action", f"{line!r:.100} begins with no name of an action.")
    return line[:end]


def passed_over(line: str) -> list[str]:
    """The names in a line behind which there is no value that Mistral knows, but a bare word, say. It
    leaves out both without telling anybody."""
    return [key for key, _, stop in _inputs(line) if stop is None] if " " in line else []


def is_expression(text: str) -> bool:
    """Whether Mistral evaluates something in a text, YAQL or Jinja."""
    return "<%" in text or "{{" in text or "{%" in text


def _inputs(line: str) -> Iterator[tuple[str, int, int | None]]:
    """Each name, and where its value begins and ends; None for the end where there is no value."""
    at = 0
    # From the start: in "a=1 b=2" the name "a" is an input as well.
    while word := _WORD.search(line, at):
        at = word.end()
        if word[2]:
            stop = _end_of_value(line, at)
            yield word[1], at, stop
            at = at if stop is None else stop


def _expression_as_name(line: str) -> int | None:
    """Where an expression at the beginning of a line ends. Jinja goes to the last bracket there is."""
    return (
        _closed(line, 0, "<%", "%>")
        or _closed(line, 0, "{{", "}}", last=True)
        or _closed(line, 0, "{%", "%}", last=True)
    )


def _end_of_value(line: str, start: int) -> int | None:
    """Where the value ends that begins at ``start``; None where there is none."""
    for quote in ('"', "'"):
        if line.startswith(quote, start):
            # There is no escape, and a text may go over several lines.
            stop = line.find(quote, start + 1)
            return stop + 1 if stop >= 0 else None
    if plain := _PLAIN.match(line, start):
        return plain.end()
    return (
        _closed(line, start, "{{", "}}")
        or _closed(line, start, "<%", "%>")
        # A list goes to the last bracket of the line, and takes along what is before that.
        or _closed(line, start, "[", "]", last=True)
    )


def _closed(line: str, start: int, opening: str, closing: str, *, last: bool = False) -> int | None:
    """The end of what is between two brackets on one line, if it begins at ``start``."""
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
