"""Validation, casts and masks of parameters."""

from __future__ import annotations

from typing import Any

import pytest

from st2_mistral_sandbox.stackstorm.catalog import Catalog
from st2_mistral_sandbox.stackstorm.fault import Fault
from st2_mistral_sandbox.stackstorm.parameters import NONE_MARK, cast, check, masked, merged

RUNNER = {"runner_parameters": {"sudo": {"type": "boolean", "default": False}}}
ACTION: dict[str, Any] = {
    "parameters": {
        "value": {"required": True, "description": "anything"},
        "loose": {"description": "no type, optional"},
        "number": {"type": "integer"},
        "sudo": {"immutable": True},
    }
}


@pytest.mark.parametrize("value", ["text", 1, 1.5, True, None, [1, "a"], {"a": {"b": []}}])
def test_required_parameter_without_a_type_accepts_any_value(value: Any) -> None:
    check({"value": value}, ACTION, RUNNER)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "'value' is a required property"),
        ({"value": 1, "x": 1}, "Additional properties are not allowed ('x' was unexpected)"),
        ({"value": 1, "number": "a"}, "'a' is not of type 'integer', 'null'"),
        ({"value": 1, "loose": 5}, "5 is not of type 'string', 'null'"),
        ({"value": 1, "sudo": True}, "Override of immutable parameter(s) ['sudo'] is unsupported."),
    ],
)
def test_invalid_parameters_are_rejected(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(Fault) as caught:
        check(parameters, ACTION, RUNNER)
    assert (caught.value.status, caught.value.text) == (400, text)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("5", "integer", 5),
        ("1.5", "number", 1.5),
        ("true", "boolean", True),
        ("[1, 2]", "array", [1, 2]),
        ("{'a': 1}", "object", {"a": 1}),
        (None, "integer", None),
        ("x", None, "x"),
        (NONE_MARK, "string", None),
    ],
)
def test_value_is_cast_to_the_type_of_its_parameter(
    value: Any, kind: str | None, expected: Any
) -> None:
    assert cast(value, {"type": kind} if kind else {}) == expected


def test_number_is_not_cast_to_string() -> None:
    with pytest.raises(ValueError, match='Value "5" must either be a string'):
        cast(5, {"type": "string"})


def test_secrets_are_masked_in_nested_values() -> None:
    schema = {
        "pw": {"secret": True},
        "o": {"type": "object", "properties": {"key": {"secret": True}, "open": {}}},
        "l": {"type": "array", "items": {"secret": True}},
    }
    given = {"pw": "a", "o": {"key": "b", "open": "c"}, "l": ["d"], "other": "e"}
    assert masked(given, schema) == {
        "pw": "********",
        "o": {"key": "********", "open": "c"},
        "l": ["********"],
        "other": "e",
    }
    assert given["pw"] == "a"


@pytest.mark.parametrize("kind", [["string", "null"], "text"])
def test_parameter_type_must_be_one_known_type(kind: Any) -> None:
    action = {"name": "a", "runner_type": "noop", "parameters": {"value": {"type": kind}}}
    with pytest.raises(Fault, match="is not one of"):
        Catalog().add_action(action)


def test_merged_parameters_combine_action_and_runner() -> None:
    action = {"sudo": {"immutable": True}, "cmd": {"required": True}, "fixed": {"immutable": False}}
    runner = {
        "sudo": {"type": "boolean", "default": False},
        "fixed": {"immutable": True, "default": 1},
        "timeout": {"default": 60},
        "any": None,
    }
    assert merged(action, runner) == {
        "sudo": {"type": "boolean", "default": False, "immutable": True},
        "cmd": {"required": True},
        "fixed": {"immutable": True, "default": 1},
        "timeout": {"default": 60},
        "any": {},
    }
