"""Find syntax of YAQL 0.2 between ``<%`` and ``%>``, as Mistral of 2015 accepted it.

Such expressions are reported, not changed: the same text may be valid today.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

# Today's YAQL may contain any character. Strings are not searched; one without an end extends to the
# end of the expression, so that no part of it is tried twice.
_WORD: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?|`(?:[^`\\]|\\.)*`?|\w+|[!<>]=|=[>~]|\S""", re.DOTALL
)
_COMPARISONS: Final = frozenset(("=", "!=", "<", ">", "<=", ">="))
_OPERATORS: Final = frozenset(("and", "or", "not", "in", "is", "mod"))
_REPLACED: Final = {"__env": "env()", "__execution": "execution()"}


@dataclass
class _Brackets:
    """The content of a pair of brackets, as far as it was read."""

    kind: str
    """``index``, ``method``, ``call``, ``list`` or ``group``."""
    rebinds: bool = False
    """True if ``$`` may have another meaning between the brackets."""
    has_dollar: bool = False
    compares: bool = False


def find_outdated(expression: str, tasks: Collection[str]) -> list[str]:
    """Return a message for each use of outdated syntax in an expression.

    :param tasks: names of tasks that are not names of variables.
    """
    found = []
    words = _WORD.findall(expression)
    stack = [_Brackets("group")]
    for at, word in enumerate(words):
        if word in ("(", "["):
            kind = _kind(words, at)
            stack.append(_Brackets(kind, stack[-1].rebinds or kind in ("index", "method")))
        elif word in (")", "]") and len(stack) > 1:
            closed = stack.pop()
            if closed.kind == "index" and closed.has_dollar and closed.compares:
                found.append("replace the condition between [ and ] with .where(…)")
            stack[-1].has_dollar |= closed.has_dollar and closed.kind != "method"
            stack[-1].compares |= closed.compares and closed.kind == "group"
        elif word in _COMPARISONS:
            stack[-1].compares = True
        elif words[at : at + 2] == ["$", "."]:
            stack[-1].has_dollar = True
            name = "".join(words[at + 2 : at + 3])
            if name in _REPLACED:
                found.append(f"replace $.{name} with {_REPLACED[name]}")
            elif name in tasks and not stack[-1].rebinds:
                found.append(f"replace $.{name}, the result of a task, with task('{name}').result")
        elif word == "$":
            stack[-1].has_dollar = True
        elif words[at : at + 4] == [".", "length", "(", ")"]:
            found.append("replace .length() with .len()")
    return list(dict.fromkeys(found))


def _kind(words: list[str], at: int) -> str:
    """Return the kind of the brackets that word ``at`` opens."""
    before = words[at - 1] if at else ""
    is_name = before.isidentifier() and before not in _OPERATORS
    if words[at] == "[":
        return "index" if is_name or before in ("$", ")", "]") else "list"
    if not is_name:
        return "group"
    return "method" if words[at - 2 : at - 1] == ["."] else "call"
