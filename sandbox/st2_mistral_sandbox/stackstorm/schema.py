"""Validate with StackStorm's JSON schema: draft 4, but ``required`` at the property, as in draft 3."""

from __future__ import annotations

import copy
from typing import Any

from jsonschema import Draft3Validator, Draft4Validator
from jsonschema.exceptions import best_match
from jsonschema.validators import create

from st2_mistral_sandbox.stackstorm.fault import bad_request
from st2_mistral_sandbox.stackstorm.statuses import STATUSES

Schema = dict[str, Any]

_Validator = create(
    meta_schema={},
    validators={
        **{name: call for name, call in Draft4Validator.VALIDATORS.items() if name != "required"},
        "properties": Draft3Validator.VALIDATORS["properties"],
    },
    version="st2",
    type_checker=Draft4Validator.TYPE_CHECKER,
)

TYPES = ["array", "boolean", "integer", "null", "number", "object", "string"]
"""The types of a parameter. StackStorm accepts no list of types here."""
ANY_TYPE: Schema = {"anyOf": [{"type": name} for name in TYPES if name != "null"]}

_ROUTE: Schema = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "data": {"type": "object"},
        "routes": {"type": "array"},
        "channels": {"type": "array"},
    },
    "additionalProperties": False,
}

EXECUTION_CREATE: Schema = {
    "type": "object",
    "properties": {
        "action": {"type": "string", "required": True},
        "parameters": {"type": "object"},
        "context": {"type": "object"},
        "callback": {"type": "object"},
        "notify": {
            "type": "object",
            "properties": {
                "on-complete": _ROUTE,
                "on-success": _ROUTE,
                "on-failure": _ROUTE,
            },
            "additionalProperties": False,
        },
        "delay": {"type": ["integer", "null"]},
        "user": {"type": ["string", "null"]},
    },
}

EXECUTION_UPDATE: Schema = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": list(STATUSES)},
        "result": {"type": "object"},
    },
    "additionalProperties": False,
}

RE_RUN: Schema = {
    "type": "object",
    "properties": {
        "parameters": {"type": "object"},
        "tasks": {"type": "array"},
        "reset": {"type": "array"},
        "user": {"type": "string"},
        "delay": {"type": "integer"},
    },
}

ACTION_CREATE: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "required": True},
        "pack": {"type": "string"},
        "runner_type": {"type": "string", "required": True},
        "entry_point": {"type": "string"},
        "enabled": {"type": "boolean"},
        "description": {"type": ["string", "null"]},
        "parameters": {
            "type": "object",
            "patternProperties": {
                r"^\w+$": {"type": "object", "properties": {"type": {"enum": TYPES}}}
            },
            "additionalProperties": False,
        },
    },
}

KEY_PUT: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "required": True},
        "value": {"type": "string", "required": True},
        "scope": {"type": "string"},
        "secret": {"type": "boolean"},
        "ttl": {"type": "integer"},
        "user": {"type": ["string", "null"]},
    },
}

TOKEN_CREATE: Schema = {
    "type": "object",
    "properties": {"ttl": {"type": "integer", "minimum": 1}},
}


def validate(instance: Any, schema: Schema) -> None:
    """Validate a value.

    :raises Fault: 400 with the validator's message.
    """
    error = best_match(_Validator(schema).iter_errors(instance))
    if error is not None:
        raise bad_request(str(error.message))


def mismatch(instance: Any, schema: Schema) -> str:
    """Return the validator's whole text for a value that does not match, otherwise an empty string."""
    error = best_match(_Validator(schema).iter_errors(instance))
    return str(error) if error is not None else ""


def allow_none(schema: Schema) -> Schema:
    """Return a copy that also allows null for optional properties without a default.

    As in StackStorm, a property without a type becomes a string: an optional parameter of any type must
    list the types.
    """
    schema = copy.deepcopy(schema)
    for name, prop in schema.get("properties", {}).items():
        if not isinstance(prop, dict):
            continue
        if prop.get("default") is None and ("default" in prop or not prop.get("required")):
            _make_nullable(prop)
        if prop.get("properties"):
            schema["properties"][name] = allow_none(prop)
        elif isinstance(prop.get("items"), dict) and prop["items"].get("properties"):
            prop["items"] = allow_none(prop["items"])
    return schema


def _make_nullable(prop: Schema) -> None:
    for key in ("anyOf", "oneOf"):
        if key in prop:
            prop[key].append({"type": "null"})
            return
    kind = prop.get("type", "string")
    if isinstance(kind, list):
        prop["type"] = kind if "null" in kind else [*kind, "null"]
    elif kind != "null":
        prop["type"] = [kind, "null"]


def with_defaults(instance: Any, schema: Schema) -> Any:
    """Return a copy with the schema's defaults for missing and null properties."""
    if not isinstance(instance, dict):
        return instance
    filled = dict(instance)
    for name, prop in schema.get("properties", {}).items():
        if not isinstance(prop, dict):
            continue
        if filled.get(name) is None and "default" in prop:
            filled[name] = copy.deepcopy(prop["default"])
        if isinstance(filled.get(name), dict) and prop.get("properties"):
            filled[name] = with_defaults(filled[name], prop)
    return filled
