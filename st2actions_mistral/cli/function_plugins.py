"""Find the expression functions that distributions of this virtualenv bring."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from typing import Any, Final

GROUP: Final = "mistral.expression.functions"

_OWN: Final = "st2actions-mistral"


@dataclass(frozen=True)
class Function:
    """One expression function."""

    name: str
    signature: str | None
    """Such as ``use_none(value)``; None for a function of another distribution."""
    description: str | None
    distribution: str
    """The name of the distribution that brings it."""


def installed_functions() -> set[str]:
    """Return the names of the expression functions, without loading them.

    In Mistral's virtualenv these are all that Mistral has, plugins of others included.
    """
    return {entry.name for _, entry in _entries()}


def list_functions() -> list[Function]:
    """Return the expression functions by name. Only those of this package are loaded."""
    found = [
        _own(entry) if distribution == _OWN else Function(entry.name, None, None, distribution)
        for distribution, entry in _entries()
    ]
    return sorted(found, key=lambda function: (function.name, function.distribution))


def signature_of(name: str, function: Any) -> str:
    """Return a function as an expression calls it, without the context that Mistral adds."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return f"{name}({', '.join(map(_argument, parameters))})"


def _entries() -> Iterator[tuple[str, EntryPoint]]:
    seen: set[str] = set()
    for distribution in distributions():
        name = distribution.metadata["Name"]
        # An earlier one of the same name hides it.
        if name in seen:
            continue
        seen.add(name)
        for entry in distribution.entry_points:
            if entry.group == GROUP:
                yield name, entry


def _own(entry: EntryPoint) -> Function:
    try:
        function = entry.load()
    except ModuleNotFoundError:
        # Jinja2 is in Mistral's virtualenv, and need not be in the relay's.
        return Function(entry.name, None, None, _OWN)
    description = (inspect.getdoc(function) or "").partition("\n")[0]
    return Function(entry.name, signature_of(entry.name, function), description, _OWN)


def _argument(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return parameter.name
    return f"{parameter.name}={_literal(parameter.default)}"


def _literal(value: Any) -> str:
    """Return a default in the form that YAQL reads, and Jinja but for null, which is none there."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)
