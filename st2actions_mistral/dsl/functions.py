"""Find the functions that expressions call, and those that Mistral does not have.

For Mistral an unknown function is no error before the task runs. Then the whole workflow fails, and
``on-error`` does not run.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from st2actions_mistral.dsl import function_names as names
from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.definition import Kind as DefinitionKind
from st2actions_mistral.dsl.jinja import codes, has_dotted_key
from st2actions_mistral.dsl.validate import Problem

# Mistral finds a YAQL expression within one line only.
_YAQL: Final = re.compile(r"<%(.*?)%>")
_YAQL_STRING: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`""", re.DOTALL
)
_YAQL_CALL: Final = re.compile(r"(?<![\w$])([^\W\d]\w*)\(")
# def(name, …) makes a function.
_YAQL_DEF: Final = re.compile(r"""(?<![\w$])def\(\s*["']?([^\W\d]\w*)""")

_JINJA_FILTER: Final = re.compile(r"\|\s*([^\W\d]\w*)")
_JINJA_TEST: Final = re.compile(r"\bis\s+(?:not\s+)?([^\W\d]\w*)")
_JINJA_CALL: Final = re.compile(r"(?<![\w.])([^\W\d]\w*)\s*\(")
# Names that a template defines itself.
_JINJA_LOCAL: Final = re.compile(r"^\s*[-+]?\s*(?:set|for|macro|call|with)\b([^=]*?)(?:=|\bin\b|$)")
_WORD: Final = re.compile(r"[^\W\d]\w*")

# Not evaluated.
_TEXTS: Final = frozenset(("description", "name", "tags", "version"))

# How much of a known name an unknown one must have to count as a spelling mistake.
_LIKENESS: Final = 0.75


class Kind(NamedTuple):
    """A kind of function, for messages, and what is known of it."""

    of: str
    known: frozenset[str]


_BOTH: Final = names.OWN | names.OF_MISTRAL
YAQL_FUNCTION: Final = Kind("YAQL has no function", names.YAQL | _BOTH)
JINJA_FUNCTION: Final = Kind("Jinja has no function", names.JINJA_FUNCTIONS | _BOTH)
JINJA_FILTER: Final = Kind("Jinja has no filter", names.JINJA_FILTERS | _BOTH)
JINJA_TEST: Final = Kind("Jinja has no test", names.JINJA_TESTS)

_DECRYPT: Final = (
    "decrypt_kv is a filter of StackStorm: write st2kv('system.KEY', decrypt=true), or let StackStorm"
    " render the parameter (render_jinja)."
)
_DOTTED: Final = (
    "st2kv.system.KEY works only in a parameter of a StackStorm action, with nothing for Mistral in it."
    " Write st2kv('system.KEY')."
)


@dataclass(frozen=True)
class UnknownFunction:
    """A function that an expression calls and that is not known."""

    message: str
    is_certain: bool
    """False: a plugin of Mistral may bring it."""


@dataclass(frozen=True)
class Found:
    """An unknown function in a definition."""

    problem: Problem
    is_certain: bool
    """See :class:`UnknownFunction`."""


def find_unknown(
    definition: Definition,
    plugins: Collection[str] = (),
    resolved: Collection[tuple[str, ...]] = (),
) -> list[Found]:
    """Return the unknown functions in all expressions of a definition.

    :param plugins: names of functions that plugins of Mistral bring.
    :param resolved: the places that StackStorm evaluates, see ``rewrite.resolved_places``.
    """
    return [
        Found(Problem(path, place, function.message), function.is_certain)
        for path, place, text in _texts(definition)
        if not any(path[: len(place_)] == place_ for place_ in resolved)
        for function in unknown_in(text, plugins)
    ]


def unknown_in(
    text: str, plugins: Collection[str] = (), *, may_be_for_stackstorm: bool = False
) -> list[UnknownFunction]:
    """Return the unknown functions in the expressions of a text, each once.

    :param may_be_for_stackstorm: skip a template that reads a key as ``st2kv.system.x``.
    """
    found: dict[UnknownFunction, None] = {}
    for match in _YAQL.finditer(text):
        own = set(_YAQL_DEF.findall(match[1]))
        for name in _YAQL_CALL.findall(_YAQL_STRING.sub("''", match[1])):
            if name not in own:
                found.update(dict.fromkeys(_unknown(YAQL_FUNCTION, name, plugins)))
    if not (may_be_for_stackstorm and any(has_dotted_key(code) for code, _ in codes(text))):
        found.update(dict.fromkeys(_unknown_in_jinja(text, plugins)))
    return list(found)


def _unknown_in_jinja(text: str, plugins: Collection[str]) -> Iterator[UnknownFunction]:
    own: set[str] = set()
    for code, is_block in codes(text):
        if is_block:
            for local in _JINJA_LOCAL.findall(code):
                own.update(_WORD.findall(local))
        filters = _JINJA_FILTER.findall(code)
        tests = [name for name in _JINJA_TEST.findall(code) if name not in names.JINJA_WORDS]
        if has_dotted_key(code):
            yield UnknownFunction(_DOTTED, is_certain=True)
        for name in filters:
            if name == "decrypt_kv":
                yield UnknownFunction(_DECRYPT, is_certain=True)
            else:
                yield from _unknown(JINJA_FILTER, name, plugins)
        for name in tests:
            yield from _unknown(JINJA_TEST, name, ())
        # The dot keeps the word before a filter from being a call: "x | default('')".
        for name in _JINJA_CALL.findall(_JINJA_TEST.sub(".", _JINJA_FILTER.sub(".", code))):
            if name not in own and name not in names.JINJA_WORDS:
                yield from _unknown(JINJA_FUNCTION, name, plugins)


def _unknown(kind: Kind, name: str, plugins: Collection[str]) -> Iterator[UnknownFunction]:
    if name in kind.known or name in plugins:
        return
    near = _nearest(name, [*kind.known, *plugins])
    if near:
        yield UnknownFunction(f"{kind.of} {name:.100}. Did you mean {near}?", is_certain=True)
    else:
        yield UnknownFunction(
            f"{kind.of} {name:.100}, unless a plugin of Mistral brings it.", is_certain=False
        )


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that another one looks like; None if it looks like none."""
    plain = {_plain(one): one for one in sorted(known)}
    near = difflib.get_close_matches(_plain(name), plain, 1, _LIKENESS)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _texts(definition: Definition) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield each text that Mistral may evaluate, with its path and its place."""
    is_book = definition.kind is DefinitionKind.WORKBOOK
    for name, spec in definition.workflows.items():
        short = name.removeprefix(f"{definition.name}.") if is_book else name
        path = ("workflows", short) if is_book else (short,)
        place = f"workflow {name}"
        tasks = spec.get("tasks")
        for key, value in _evaluated(spec):
            if key != "tasks":
                yield from _within((*path, key), place, value)
        for task, task_spec in tasks.items() if isinstance(tasks, Mapping) else ():
            if isinstance(task_spec, Mapping):
                for key, value in _evaluated(task_spec):
                    keys = (*path, "tasks", str(task), key)
                    yield from _within(keys, f"{place}, task {task}", value)
    for action, spec in definition.actions.items():
        for key, value in _evaluated(spec):
            yield from _within(("actions", str(action), key), f"action {action}", value)


def _evaluated(spec: Any) -> Iterator[tuple[str, Any]]:
    for key, value in spec.items() if isinstance(spec, Mapping) else ():
        if key not in _TEXTS:
            yield str(key), value


def _within(
    path: tuple[str, ...], place: str, value: Any
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    if isinstance(value, str):
        yield path, place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            # A condition of on-success may be a key: "- next: <% … %>" or "fail: …".
            yield (*path, str(key)), place, str(key)
            yield from _within((*path, str(key)), place, item)
    elif isinstance(value, list):
        for item in value:
            yield from _within(path, place, item)
