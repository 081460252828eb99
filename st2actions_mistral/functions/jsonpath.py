"""Query objects and lists with JSONPath.

jsonpath-ng parses the query. Its results are not used, because they differ from those of jsonpath-rw
1.4.0, which StackStorm has, and between its own releases: ``[*]`` of an object is the object in
StackStorm, and ``*`` of a list is nothing. Following the steps here also bounds them: a short query
such as ``$..*..*..*`` can have more results than memory holds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import pass_context

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.values import library, plain, text

_NAME: Final = "jsonpath_query"
_MAX_QUERY: Final = 1000
_MAX_STEPS: Final = 300_000

# jsonpath-ng 1.16 does not tell [*] from *. It reads [:] as the slice that [*] is in jsonpath-rw.
_ALL: Final = re.compile(r"""("[^"]*"|'[^']*'|`[^`]*`)|\[\s*\*\s*\]""")


@dataclass(frozen=True)
class _Found:
    """A value in the data."""

    value: Any
    above: _Found | None = None
    """The list or object that holds it."""


@pass_context
def jsonpath_query(context: Any, value: Any, query: Any) -> list[Any] | None:
    """Return what a JSONPath query finds in an object or a list; null if it finds nothing."""
    try:
        parsed = _parsed(text(_NAME, query, _MAX_QUERY))
        found = _Search().find(parsed, _Found(plain(_NAME, value)))
        return [one.value for one in found] or None
    except RecursionError:
        raise InputError(_NAME, "the query is nested too deeply.") from None


@functools.lru_cache(maxsize=128)
def _parsed(query: str) -> Any:
    parser = library(_NAME, "jsonpath_ng.parser")
    try:
        return parser.parse(_ALL.sub(lambda match: match[1] or "[:]", query))
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001 - its parser raises several kinds, Exception itself too
        raise InputError(_NAME, f"{query!r:.80} is not a query: {error}.") from None


class _Search:
    """Follow a parsed query through data, in at most :data:`_MAX_STEPS` steps."""

    def __init__(self) -> None:
        self._steps = 0

    def find(self, node: Any, at: _Found) -> Iterator[_Found]:
        """Yield what a part of a query finds at a place, in the order of jsonpath-rw."""
        self._step()
        # Some classes of jsonpath-ng got an underscore in 1.16.
        kind = type(node).__name__.lstrip("_")
        find = getattr(self, f"_{kind.lower()}", None)
        if find is None:
            raise InputError(_NAME, f"StackStorm's JSONPath has no {kind}.")
        yield from find(node, at)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise InputError(_NAME, f"the query takes more than {_MAX_STEPS} steps.")

    def _root(self, _: Any, at: _Found) -> Iterator[_Found]:
        while at.above is not None:
            at = at.above
        yield at

    def _this(self, _: Any, at: _Found) -> Iterator[_Found]:
        yield at

    def _parent(self, _: Any, at: _Found) -> Iterator[_Found]:
        if at.above is not None:
            yield at.above

    def _child(self, node: Any, at: _Found) -> Iterator[_Found]:
        for left in self.find(node.left, at):
            yield from self.find(node.right, left)

    def _union(self, node: Any, at: _Found) -> Iterator[_Found]:
        yield from self.find(node.left, at)
        yield from self.find(node.right, at)

    def _where(self, node: Any, at: _Found) -> Iterator[_Found]:
        for left in self.find(node.left, at):
            if any(True for _ in self.find(node.right, left)):
                yield left

    def _descendants(self, node: Any, at: _Found) -> Iterator[_Found]:
        for left in self.find(node.left, at):
            yield from self._below(node.right, left)

    def _below(self, node: Any, at: _Found) -> Iterator[_Found]:
        yield from self.find(node, at)
        items = at.value.values() if isinstance(at.value, dict) else at.value
        if isinstance(at.value, (dict, list)):
            for item in items:
                yield from self._below(node, _Found(item, at))

    def _fields(self, node: Any, at: _Found) -> Iterator[_Found]:
        if "*" in node.fields:
            yield from self._wildcard(node, at)
        elif isinstance(at.value, dict):
            for field in node.fields:
                if field in at.value:
                    yield _Found(at.value[field], at)

    def _wildcard(self, _: Any, at: _Found) -> Iterator[_Found]:
        if isinstance(at.value, dict):
            for item in at.value.values():
                self._step()
                yield _Found(item, at)

    def _index(self, node: Any, at: _Found) -> Iterator[_Found]:
        # One index in jsonpath-ng below 1.7.
        for index in getattr(node, "indices", None) or (node.index,):
            if isinstance(at.value, (list, str)) and -len(at.value) <= index < len(at.value):
                yield _Found(at.value[index], at)

    def _slice(self, node: Any, at: _Found) -> Iterator[_Found]:
        if not isinstance(at.value, list):
            at = _Found([at.value], at.above)
        if node.step == 0:
            raise InputError(_NAME, "the step of a slice must not be 0.")
        for item in at.value[node.start : node.end : node.step]:
            self._step()
            yield _Found(item, at)
