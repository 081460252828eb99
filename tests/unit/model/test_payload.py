from __future__ import annotations

import datetime
from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.model import payload


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "é😀", [], {}, {"a": [{"b": None}]}, (1, 2)])
def test_what_json_can_say_passes(value: Any) -> None:
    payload.check("result", value)


def _itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "NaN"),
        ({"a": [float("inf")]}, "infinite"),
        ({"a": {1, 2}}, "set"),
        (b"hush", "bytes"),
        ({"hush\ud800": 1}, "surrogate"),
        (datetime.datetime(2026, 11, 23), "datetime"),
        (_itself(), "itself"),
    ],
)
def test_what_json_cannot_say_is_refused_by_name(value: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        payload.check("result", value)
    assert caught.value.name == "result"
    assert "hush" not in str(caught.value)


def test_a_value_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="too deeply"):
        payload.check("result", _deep())
