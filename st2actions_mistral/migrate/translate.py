"""Translate expressions from YAQL 0.2, of 2014, to today's YAQL.

Translated are paths, comparisons, arithmetic, ``and``, ``or``, ``not``, and

====================== ===========================
2014                   today
====================== ===========================
``$.list[$.a = 1]``    ``$.list.where($.a = 1)``
``$.length()``         ``$.len()``
``$.list.x[0]``        ``$.list.x.toList()[0]``
====================== ===========================

The caller decides how a path starts: the meaning of ``$.name`` depends on the workflow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple


class Start(NamedTuple):
    """The translated start of a path."""

    text: str
    doubt: str | None = None
    """A message for the author, if the translation may be wrong."""
    names: int = 1
    """Number of names of the path that the text replaces."""


Resolve = Callable[[Sequence[str]], Start]
"""Translates the ``$.first`` of ``$.first.second.third``, given all names, or ``$``, given none."""

_TOKEN: Final = re.compile(
    r"""(?P<space>\s*)(?:(?P<text>'[^'\\]*'|"[^"\\]*")|(?P<number>\d+(?:\.\d+)?\b)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>!=|<=|>=|[-$.,=<>+*/()\[\]]))"""
)
_BETWEEN: Final = frozenset(("=", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "and", "or"))
_CONSTANTS: Final = frozenset(("true", "false", "null"))


class UnreadableError(Exception):
    """The text may not be an expression. The message says where reading stopped."""


class Translated(NamedTuple):
    """A translated expression."""

    text: str
    doubts: list[str]
    """Messages for the author about what may be wrong."""


class _Token(NamedTuple):
    kind: str
    space: str
    text: str


def translate(expression: str, resolve: Resolve) -> Translated:
    """Translate an expression of 2014, without brackets around it.

    :raises UnreadableError: the text is not an expression that this module knows.
    """
    reader = _Reader(expression, resolve)
    try:
        text = reader.expression(item=False)
    except RecursionError:
        raise UnreadableError("is nested too deeply") from None
    if reader.next is not None:
        raise UnreadableError(f"stopped at {reader.next.text!r}")
    return Translated(text.strip(), list(dict.fromkeys(reader.doubts)))


class _Reader:
    """Reads one expression from left to right and translates it, blanks included.

    ``item`` is True where ``$`` is an item of a list, not the context.
    """

    def __init__(self, expression: str, resolve: Resolve) -> None:
        self._tokens = _tokens(expression)
        self._at = 0
        self._resolve = resolve
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
            raise UnreadableError("ends unexpectedly")
        if token.text in ("not", "-"):
            return self._take() + self._operand(item)
        if token.text == "(":
            return self._take() + self.expression(item=item) + self._take(")")
        if token.text == "$":
            return self._path(item)
        if token.kind in ("text", "number") or token.text in _CONSTANTS:
            return self._take()
        if token.kind == "name" and self._text_at(1) == "(":
            self.doubts.append(f"check that today's YAQL has the function {token.text}()")
            return self._take() + self._arguments()
        raise UnreadableError(f"stopped at {token.text!r}")

    def _path(self, item: bool) -> str:
        space = self._take()[:-1]
        text = "$" if item else self._start()
        lazy = False
        while self.next is not None and not self.next.space and self.next.text in (".", "["):
            if self.next.text == ".":
                text += self._step()
                lazy = True
            elif self._is_filter():
                self._take()
                text += f".where({self.expression(item=True)})"
                self._take("]")
                lazy = True
            else:
                # where() and the .name of a list return iterators today, which have no [0].
                index = self._index()
                is_number = index.strip("[ -")[:1].isdigit()
                text += (".toList()" if lazy and is_number else "") + index
                lazy = False
        return space + text

    def _start(self) -> str:
        names: list[str] = []
        while (name := self._attribute(2 * len(names))) is not None:
            names.append(name)
        start = self._resolve(names)
        if names:
            self._at += 2 * start.names
        if start.doubt:
            self.doubts.append(start.doubt)
        return start.text

    def _step(self) -> str:
        """``.name`` or ``.name(…)``."""
        dot = self._take(".")
        token = self.next
        if token is None or token.kind != "name" or token.space:
            raise UnreadableError("a name is missing after a dot")
        if self._text_at(1) != "(":
            name = self._take()
            # Today's YAQL does not accept such names.
            return f".get('{name}')" if name.startswith("__") else dot + name
        self._at += 1
        arguments = self._arguments()
        if token.text == "length" and arguments == "()":
            return ".len()"
        self.doubts.append(f"check that today's YAQL has the function {token.text}()")
        return f".{token.text}{arguments}"

    def _arguments(self) -> str:
        text = self._take("(")
        if self.next is not None and self.next.text != ")":
            text += self.expression(item=True)
            while self.next is not None and self.next.text == ",":
                text += self._take() + self.expression(item=True)
        return text + self._take(")")

    def _is_filter(self) -> bool:
        """Return True if ``$`` occurs between the brackets that come next."""
        depth = 0
        for index in range(self._at, len(self._tokens)):
            text = self._tokens[index].text
            depth += (text == "[") - (text == "]")
            if text == "$":
                return True
            if depth == 0:
                break
        return False

    def _index(self) -> str:
        text = self._take("[")
        if self.next is not None and self.next.text == "-":
            text += self._take()
        if self.next is None or self.next.kind == "sign":
            raise UnreadableError("the index between [ and ] is missing")
        return text + self._take() + self._take("]")

    def _attribute(self, at: int) -> str | None:
        """Return the name in ``.name`` at a position, unless it is a function or something else."""
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
            raise UnreadableError(f"{wanted} is missing")
        self._at += 1
        return token.space + token.text


def _tokens(expression: str) -> list[_Token]:
    found = []
    at = 0
    expression = expression.strip()
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise UnreadableError(f"stopped at {expression[at:].strip()[:20]!r}")
        kind = match.lastgroup or ""
        found.append(_Token(kind, match["space"], match[kind]))
        at = match.end()
    return found
