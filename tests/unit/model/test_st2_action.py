"""The parameters that StackStorm refuses."""

from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.model.st2_action import refused

KNOWN: dict[str, dict[str, Any]] = {
    "i": {"type": "integer", "required": True, "position": 0},
    "n": {"type": "number", "minimum": 0},
    "s": {"type": "string", "secret": True},
    "o": {"type": "object", "properties": {"a": {"type": "integer", "required": True}}},
    "a": {"type": "array", "items": {"type": "string"}},
    "b": {"type": "boolean", "default": False, "required": True},
    "e": {"type": "string", "enum": ["x", "y"]},
    "u": {"anyOf": [{"type": "string"}, {"type": "array"}]},
    "any": {},
    "broken": {"type": "nothing"},
    "pattern": {"type": "string", "pattern": "("},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # Accepted by StackStorm 3.9.0.
        ("i", 5),
        ("i", "5"),
        ("n", "0.5"),
        ("s", "text"),
        ("s", None),
        ("o", {"a": 1, "b": 2}),
        ("o", '{"a": 1}'),
        ("o", "{'a': 1}"),
        ("a", ["x"]),
        ("a", '["x"]'),
        ("b", "true"),
        ("b", None),
        ("e", "x"),
        ("u", ["x"]),
        ("any", {"a": [1]}),
        # Not checked.
        ("unknown", 1),
        ("broken", 1),
        ("pattern", "x"),
    ],
)
def test_accepted_values(name: str, value: Any) -> None:
    assert refused({name: value}, KNOWN) == {}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("i", "abc", "'abc' is not of type 'integer'"),
        ("i", None, "None is not of type 'integer'"),
        ("i", [1], "[1] is not of type 'integer'"),
        ("n", -1, "-1.0 is less than the minimum of 0"),
        ("s", 5, "5 is not of type 'string'"),
        ("o", "notjson", "'notjson' is not of type 'object'"),
        ("o", [1], "[1] is not of type 'object'"),
        ("o", {"a": "x"}, "'x' is not of type 'integer'"),
        ("a", [1], "1 is not of type 'string'"),
        ("a", "x", "'x' is not of type 'array'"),
        ("b", "yes", "'yes' is not of type 'boolean'"),
        ("b", 1, "1 is not of type 'boolean'"),
        ("e", "q", "'q' is not one of ['x', 'y']"),
        ("u", 5, "5 is not valid under any of the given schemas"),
    ],
)
def test_refused_values(name: str, value: Any, reason: str) -> None:
    assert refused({name: value, "any": 1}, KNOWN) == {name: reason}
