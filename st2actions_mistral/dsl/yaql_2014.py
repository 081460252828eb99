"""Expressions as YAQL 0.2, of 2014, had them, in the words of today's YAQL.

Only what is sure is translated: paths, comparisons, arithmetic, ``and``, ``or``, ``not``, and

====================== ===========================
2014                   today
====================== ===========================
``$.list[$.a = 1]``    ``$.list.where($.a = 1)``
``$.length()``         ``$.len()``
====================== ===========================

What a path begins with, ``$.name``, only the workflow can tell: the caller says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

Root = Callable[[str | None, str | None], tuple[str, str | None]]
"""What to write for ``$`` (None, None), or for the ``$.first`` of ``$.first.second``; and what is
doubtful in that, in words."""

_TOKEN: Final = re.compile(
    r"""(?P<space>\s*)(?:(?P<text>'[^'\\]*'|"[^"\\]*")|(?P<number>\d+(?:\.\d+)?\b)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>!=|<=|>=|[-$.,=<>+*/()\[\]]))"""
)
_BETWEEN: Final = frozenset(("=", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "and", "or"))
_CONSTANTS: Final = frozenset(("true", "false", "null"))


class Unclear(Exception):
    """It may be no expression at all; the text says where the reading ended."""


class Translated(NamedTuple):
    """An expression of today."""

    text: str
    doubts: list[str]
    """What somebody has to look at, in words."""


class _Token(NamedTuple):
    kind: str
    space: str
    text: str


def translate(expression: str, root: Root) -> Translated:
    """An expression of 2014, without brackets around it, as one of today.

    :raises Unclear: it is none that this module knows.
    """
    reader = _Reader(expression, root)
    try:
        text = reader.expression(item=False)
    except RecursionError:
        raise Unclear("is nested too deeply") from None
    if reader.next is not None:
        raise Unclear(f"cannot be read from {reader.next.text!r} on")
    return Translated(text.strip(), list(dict.fromkeys(reader.doubts)))


class _Reader:
    """Reads one expression from left to right and writes it anew, blanks included.

    ``item`` says that ``$`` is an item of a list there, not the context.
    """

    def __init__(self, expression: str, root: Root) -> None:
        self._tokens = _tokens(expression)
        self._at = 0
        self._root = root
        self.doubts: list[str] = []

    @property
    def next(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def expression(self, *, item: bool) -> str:
        text = self._operand(item)
        while self.next is not None and self.next.text in _BETWEEN:
            text += self._take() + self._operand(item)
        return text

    def _operand(self, item: bool) -> str:
        token = self.next
        if token is None:
            raise Unclear("ends too early")
        if token.text in ("not", "-"):
            return self._take() + self._operand(item)
        if token.text == "(":
            return self._take() + self.expression(item=item) + self._take(")")
        if token.text == "$":
            return self._path(item)
        if token.kind in ("text", "number") or token.text in _CONSTANTS:
            return self._take()
        if token.kind == "name" and self._text_at(1) == "(":
            self.doubts.append(f"look up whether today's YAQL has the function {token.text}()")
            return self._take() + self._arguments()
        raise Unclear(f"cannot be read from {token.text!r} on")

    def _path(self, item: bool) -> str:
        space = self._take()[:-1]
        first = self._attribute(0)
        if item:
            text = "$"
        else:
            if first:
                self._at += 2
            text, doubt = self._root(first, self._attribute(0) if first else None)
            if doubt:
                self.doubts.append(doubt)
        filtered = False
        while self.next is not None and not self.next.space and self.next.text in (".", "["):
            if self.next.text == "[":
                lazy, filtered = filtered, self._is_filter()
                if filtered:
                    self._take()
                    text += f".where({self.expression(item=True)})"
                    self._take("]")
                else:
                    # What where() gives has no [0] today.
                    text += (".toList()" if lazy else "") + self._index()
            else:
                text += self._step()
        return space + text

    def _step(self) -> str:
        """``.name`` or ``.name(…)``."""
        dot = self._take(".")
        token = self.next
        if token is None or token.kind != "name" or token.space:
            raise Unclear("a name is missing behind a dot")
        if self._text_at(1) != "(":
            return dot + self._take()
        self._at += 1
        arguments = self._arguments()
        if token.text == "length" and arguments == "()":
            return ".len()"
        self.doubts.append(f"look up whether today's YAQL has the function {token.text}()")
        return f".{token.text}{arguments}"

    def _arguments(self) -> str:
        text = self._take("(")
        if self.next is not None and self.next.text != ")":
            text += self.expression(item=True)
            while self.next is not None and self.next.text == ",":
                text += self._take() + self.expression(item=True)
        return text + self._take(")")

    def _is_filter(self) -> bool:
        depth = 0
        for token in self._tokens[self._at :]:
            depth += (token.text == "[") - (token.text == "]")
            if token.text == "$":
                return True
            if depth == 0:
                break
        return False

    def _index(self) -> str:
        text = self._take("[")
        if self.next is not None and self.next.text == "-":
            text += self._take()
        if self.next is None or self.next.kind == "sign":
            raise Unclear("something is missing between [ and ]")
        return text + self._take() + self._take("]")

    def _attribute(self, at: int) -> str | None:
        """The name of ``.name``, if that comes next and is no function."""
        if self._text_at(at) != "." or self._tokens[self._at + at].space:
            return None
        index = self._at + at + 1
        token = self._tokens[index] if index < len(self._tokens) else None
        if token is None or token.kind != "name" or token.space or self._text_at(at + 2) == "(":
            return None
        return token.text

    def _text_at(self, ahead: int) -> str | None:
        index = self._at + ahead
        return self._tokens[index].text if index < len(self._tokens) else None

    def _take(self, wanted: str | None = None) -> str:
        token = self.next
        if token is None or (wanted and token.text != wanted):
            raise Unclear(f"{wanted} is missing")
        self._at += 1
        return token.space + token.text


def _tokens(expression: str) -> list[_Token]:
    found = []
    at = 0
    expression = expression.strip()
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise Unclear(f"cannot be read from {expression[at:].strip()[:20]!r} on")
        kind = match.lastgroup or ""
        found.append(_Token(kind, match["space"], match[kind]))
        at = match.end()
    return found
