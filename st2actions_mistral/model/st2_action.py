"""Describe StackStorm actions, and find the parameters that StackStorm would refuse."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema

Parameters = Mapping[str, Mapping[str, Any]]
"""Schemas by name. Each has ``type``, ``required``, ``default``, ``immutable`` …"""

# Attributes of StackStorm's, or of an older draft, that jsonschema would misread.
_NOT_SCHEMA: Final = frozenset(("required", "default", "immutable", "secret", "position", "$ref"))


@dataclass(frozen=True)
class St2Action:
    """A StackStorm action."""

    parameters: Parameters
    """Its own parameters and those of its runner."""
    enabled: bool = True


def refused(given: Mapping[str, Any], known: Parameters) -> dict[str, str]:
    """Return why StackStorm refuses parameters, by name.

    StackStorm reads text as the type of the parameter first: ``"5"`` is an integer, ``"[1]"`` an array.
    Unknown and missing parameters are not reported.
    """
    found = {}
    for name, value in given.items():
        schema = known.get(name)
        reason = _reason(value, schema) if schema else None
        if reason:
            found[name] = reason
    return found


def _reason(value: Any, schema: Mapping[str, Any]) -> str | None:
    if value is None:
        # StackStorm replaces it by the default, and lets an optional parameter be null.
        is_needed = schema.get("required") and schema.get("default") is None
        return f"None is not of type {schema.get('type', 'string')!r}" if is_needed else None
    kind = schema.get("type")
    try:
        value = _CASTS[kind](value) if isinstance(kind, str) and kind in _CASTS else value
    except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError, MemoryError):
        return f"{value!r:.60} is not of type {kind!r}"
    try:
        schema = _draft4(schema)
        jsonschema.Draft4Validator.check_schema(schema)
        error = next(jsonschema.Draft4Validator(schema).iter_errors(value), None)
    except (jsonschema.SchemaError, re.error):
        # The schema of a pack may be invalid. Then StackStorm tells.
        return None
    return f"{error.message:.200}" if error else None


def _draft4(schema: Any) -> Any:
    """Return a schema without the attributes that jsonschema does not know as StackStorm does."""
    if not isinstance(schema, Mapping):
        return schema
    made = {name: part for name, part in schema.items() if name not in _NOT_SCHEMA}
    if isinstance(made.get("properties"), Mapping):
        made["properties"] = {name: _draft4(part) for name, part in made["properties"].items()}
    if "items" in made:
        made["items"] = _draft4(made["items"])
    return made


def _structure(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return ast.literal_eval(value)


def _boolean(value: Any) -> Any:
    return ast.literal_eval(value.capitalize()) if isinstance(value, str) else value


def _string(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("not text")
    return value


# As StackStorm 3.9.0 does (st2common.util.casts).
_CASTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "array": _structure,
    "object": _structure,
    "boolean": _boolean,
    "integer": int,
    "number": float,
    "string": _string,
}
