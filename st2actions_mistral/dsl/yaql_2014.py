"""Expressions as YAQL 0.2, of 2014, had them, in the words of today's YAQL.

Only what is sure is translated: paths, comparisons, arithmetic, ``and``, ``or``, ``not``, and

====================== ===========================
2014                   today
====================== ===========================
``$.list[$.a = 1]``    ``$.list.where($.a = 1)``
``$.length()``         ``$.len()``
``$.list.x[0]``        ``$.list.x.toList()[0]``
====================== ===========================

What a path begins with, ``$.name``, only the workflow can tell: the caller says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple


class Start(NamedTuple):
    """How a path begins today."""

    text: str
    doubt: str | None = None
    """What somebody has to look at, in words."""
    names: int = 1
    """How many of the names of the path it stands for."""


Root = Callable[[Sequence[str]], Start]
"""What to write for the ``$.first`` of ``$.first.second.third``, given all its names; or for ``$``,
given none."""

_TOKEN: Final = re.compile(
    r"""(?P<space>\s*)(?:(?P<text>'[^'\\]*'|"[^"\\]*")|(?P<number>\d+(?:\.\d+)?\b)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>!=|<=|>=|[-$.,=<>+*/()\[\]]))"""
)
_BETWEEN: Final = frozenset(("=", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "and", "or"))
_CONSTANTS: Final = frozenset(("true", "false", "null"))


# What is of today may have any sign in it; only no text is to be taken for one.
_OF_TODAY: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|\w+|[!<>]=|=[>~]|\S""", re.DOTALL
)
_COMPARISONS: Final = frozenset(("=", "!=", "<", ">", "<=", ">="))
_OPERATORS: Final = frozenset(("and", "or", "not", "in", "is", "mod"))
_BEGUN_ANEW: Final = {"__env": "env()", "__execution": "execution()"}


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
                # Neither what where() gives nor the .name of a list has a [0] today.
                index = self._index()
                is_number = index.strip("[ -")[:1].isdigit()
                text += (".toList()" if lazy and is_number else "") + index
                lazy = False
        return space + text

    def _start(self) -> str:
        names: list[str] = []
        while (name := self._attribute(2 * len(names))) is not None:
            names.append(name)
        start = self._root(names)
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
            raise Unclear("a name is missing behind a dot")
        if self._text_at(1) != "(":
            name = self._take()
            # Today's YAQL knows no such names.
            return f".get('{name}')" if name.startswith("__") else dot + name
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


@dataclass
class _Brackets:
    """What is between two brackets, as far as it was read."""

    kind: str
    """``index``, ``method``, ``call``, ``list`` or ``group``."""
    anew: bool = False
    """Whether ``$`` may be something else in them than in the whole."""
    has_dollar: bool = False
    compares: bool = False


def leftovers(expression: str, tasks: Collection[str]) -> list[str]:
    """What there is between ``<%`` and ``%>`` that was understood in 2015, with YAQL 0.2 still, and is
    not today; in words.

    :param tasks: names of tasks of which there is no variable.
    """
    found = []
    words = _OF_TODAY.findall(expression)
    stack = [_Brackets("group")]
    for at, word in enumerate(words):
        if word in ("(", "["):
            kind = _kind(words, at)
            stack.append(_Brackets(kind, stack[-1].anew or kind in ("index", "method")))
        elif word in (")", "]") and len(stack) > 1:
            closed = stack.pop()
            if closed.kind == "index" and closed.has_dollar and closed.compares:
                found.append("a condition between [ and ] is .where(…) today")
            stack[-1].has_dollar |= closed.has_dollar and closed.kind != "method"
            stack[-1].compares |= closed.compares and closed.kind == "group"
        elif word in _COMPARISONS:
            stack[-1].compares = True
        elif words[at : at + 2] == ["$", "."]:
            stack[-1].has_dollar = True
            name = "".join(words[at + 2 : at + 3])
            if name in _BEGUN_ANEW:
                found.append(f"$.{name} is {_BEGUN_ANEW[name]} today")
            elif name in tasks and not stack[-1].anew:
                found.append(
                    f"$.{name} was the result of the task: that is task('{name}').result today"
                )
        elif word == "$":
            stack[-1].has_dollar = True
        elif words[at : at + 4] == [".", "length", "(", ")"]:
            found.append(".length() is .len() today")
    return list(dict.fromkeys(found))


def _kind(words: list[str], at: int) -> str:
    """Of the brackets that a word opens."""
    before = words[at - 1] if at else ""
    is_name = before.isidentifier() and before not in _OPERATORS
    if words[at] == "[":
        return "index" if is_name or before in ("$", ")", "]") else "list"
    if not is_name:
        return "group"
    return "method" if words[at - 2 : at - 1] == ["."] else "call"


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
