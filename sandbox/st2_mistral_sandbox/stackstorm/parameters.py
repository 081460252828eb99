"""Validate, cast and mask the parameters of an action."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from typing import Any

from st2_mistral_sandbox.stackstorm.fault import bad_request
from st2_mistral_sandbox.stackstorm.json_format import from_json
from st2_mistral_sandbox.stackstorm.schema import (
    ANY_TYPE,
    Schema,
    allow_none,
    validate,
    with_defaults,
)

MASK = "********"
NONE_MARK = "%*****__%NONE%__*****%"
"""The text that the filter ``use_none`` makes of null, since a template renders text only."""


def check(parameters: dict[str, Any], action: Schema, runner: Schema) -> None:
    """Validate parameters against an action and its runner.

    :raises Fault: 400.
    """
    schema = _schema_of(action["parameters"], runner["runner_parameters"])
    if schema:
        schema = allow_none(schema)
        validate(with_defaults(parameters, schema), schema)
    fixed = [*_immutable(action["parameters"]), *_immutable(runner["runner_parameters"])]
    overridden = [name for name in parameters if name in fixed]
    if overridden:
        raise bad_request(f"Override of immutable parameter(s) {overridden} is unsupported.")


def merged(action: Schema, runner: Schema) -> Schema:
    """Return the parameters of an action with those of its runner, as the views show them.

    The action's attributes win, but a parameter that is immutable in the runner stays so.
    """
    shown: Schema = {}
    for name in {**runner, **action}:
        of_action, of_runner = action.get(name) or {}, runner.get(name) or {}
        shown[name] = {**of_runner, **of_action}
        if of_runner.get("immutable"):
            shown[name]["immutable"] = True
    return shown


def _schema_of(action_parameters: Schema, runner_parameters: Schema) -> Schema:
    properties = _merge(copy.deepcopy(runner_parameters), action_parameters)
    if not properties:
        return {}
    return {
        "type": "object",
        "properties": {name: prop or copy.deepcopy(ANY_TYPE) for name, prop in properties.items()},
        "additionalProperties": False,
    }


def _merge(base: Schema, over: Mapping[str, Any]) -> Schema:
    for key, value in over.items():
        if isinstance(value, dict):
            known = base.get(key)
            base[key] = _merge(known if isinstance(known, dict) else {}, value)
        else:
            base[key] = value
    return base


def _immutable(schemas: Schema) -> list[str]:
    return [name for name, prop in schemas.items() if prop.get("immutable")]


def cast(value: Any, prop: Mapping[str, Any]) -> Any:
    """Convert a value to the type of its parameter.

    :raises ValueError: StackStorm answers 400.
    :raises TypeError: StackStorm answers 500, as for SyntaxError.
    :raises SyntaxError: the text is neither JSON nor a Python literal.
    """
    kind = prop.get("type") if prop else None
    convert = _CASTS.get(kind) if isinstance(kind, str) else None
    if value is None or convert is None:
        return value
    return convert(None if value == NONE_MARK else value)


def _object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except ValueError:
        return ast.literal_eval(value)


def _boolean(value: Any) -> Any:
    return ast.literal_eval(value.capitalize()) if isinstance(value, str) else value


def _string(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError(
            f'Value "{value}" must either be a string or None. Got "{type(value).__name__}".'
        )
    return value


_CASTS: dict[str, Callable[[Any], Any]] = {
    "array": _object,
    "boolean": _boolean,
    "integer": int,
    "number": float,
    "object": _object,
    "string": _string,
}


def masked(parameters: dict[str, Any], *schemas: Schema) -> dict[str, Any]:
    """Return a copy with every parameter masked that is secret in one of the schemas."""
    shown = dict(parameters)
    for schema in schemas:
        for name, prop in schema.items():
            if name in shown:
                shown[name] = _mask_value(shown[name], prop)
    return shown


def _mask_value(value: Any, prop: Any) -> Any:
    if not isinstance(prop, dict):
        return value
    if prop.get("secret"):
        return MASK
    if isinstance(value, dict) and isinstance(prop.get("properties"), dict):
        return masked(value, prop["properties"])
    if isinstance(value, list) and isinstance(prop.get("items"), dict):
        return [_mask_value(item, prop["items"]) for item in value]
    return value
