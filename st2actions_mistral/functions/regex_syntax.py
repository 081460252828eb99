r"""Write a pattern of Python's ``re`` so that the module ``regex`` reads it in the same way.

In patterns that ``re`` accepts, ``regex`` reads two things differently:

* Braces that are no repetition are text in ``re``: ``a{e<=1}`` allows an error in ``regex``.
* ``[[:alpha:]]`` is a set of characters and a bracket in ``re``, and a class in ``regex``.

Both are escaped. What remains is that ``regex`` counts combining marks as parts of words (``\w``,
``\b``), and knows the Unicode of its own release.
"""

from __future__ import annotations

import re
from typing import Final

_MAX_PARTS: Final = 10_000
"""Parts of a pattern once its repetitions are written out.

``regex`` writes them out while it compiles, which no timeout stops: 10,000 parts take up to 0.05 s and
5 MB, a million take a second and 270 MB (measured).
"""

_SET_CHARACTERS: Final = 16
"""Characters of a set that count as one more part.

``(?:[…]{300}){300}`` with 5,000 characters in the set takes 12 s and 2 GB (measured).
"""

_REPEAT: Final = re.compile(r"\{(?:([0-9]+)(?:,[0-9]*)?|,[0-9]*)\}")
_ESCAPE: Final = re.compile(r"\\(?:N\{[^}]*\}|.)", re.DOTALL)
# A bracket that comes first belongs to the set.
_SET_START: Final = re.compile(r"\[\^?\]?")
_INLINE_COMMENT: Final = re.compile(r"\(\?#[^)]*\)")
_LINE_COMMENT: Final = re.compile(r"#[^\n]*")


class InvalidPatternError(Exception):
    """A pattern that cannot be used; the text says why."""


def translate(pattern: str, *, verbose: bool = False) -> str:
    """Return a valid pattern of ``re`` for ``regex``.

    :param verbose: the pattern has the flag ``x``, so ``#`` starts a comment.
    :raises InvalidPatternError: it has too many repetitions.
    """
    done: list[str] = []
    size = _Size()
    at, set_at, in_set = 0, 0, False

    def take(token: re.Pattern[str]) -> re.Match[str] | None:
        nonlocal at
        if match := token.match(pattern, at):
            done.append(match[0])
            at = match.end()
        return match

    while at < len(pattern):
        if take(_ESCAPE):
            if not in_set:
                size.add_part()
            continue
        sign = pattern[at]
        if in_set:
            if sign == "[":
                done.append("\\")
            if sign == "]":
                in_set = False
                size.add_part(1 + (at - set_at) // _SET_CHARACTERS)
        elif take(_INLINE_COMMENT) or (verbose and take(_LINE_COMMENT)):
            continue
        elif take(_SET_START):
            set_at, in_set = at, True
            continue
        elif sign == "{":
            if repeat := take(_REPEAT):
                size.repeat(int(repeat[1] or 1))
                continue
            done.append("\\")
        elif sign == "(":
            size.open()
        elif sign == ")":
            size.close()
        elif sign not in "*+?|":
            size.add_part()
        done.append(sign)
        at += 1
    return "".join(done)


class _Size:
    """Count the parts of a pattern as ``regex`` writes them out."""

    def __init__(self) -> None:
        self._groups = [0]
        self._last = 0

    def open(self) -> None:
        self._groups.append(0)

    def close(self) -> None:
        self._last = self._groups.pop() + 1
        self._groups[-1] += self._last

    def add_part(self, weight: int = 1) -> None:
        self._last = weight
        self._groups[-1] += weight

    def repeat(self, times: int) -> None:
        self._groups[-1] += self._last * (times - 1)
        self._last *= times
        if self._groups[-1] > _MAX_PARTS:
            raise InvalidPatternError(f"its repetitions stand for more than {_MAX_PARTS} parts")
