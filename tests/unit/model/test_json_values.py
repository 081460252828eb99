from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st2actions_mistral.errors import InputError
from st2actions_mistral.model import json_values


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        1.5,
        "é😀",
        [],
        {},
        {"a": [{"b": None}]},
        (1, 2),
        json.loads("[" * 100 + "]" * 100),
    ],
)
def test_check_accepts_json(value: Any) -> None:
    json_values.check("result", value)


def _itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def _nested(levels: int, leaf: str = "1") -> str:
    return "[" * levels + leaf + "]" * levels


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([10**5000], "4300 digits"),
        (json.loads(_nested(101)), "more than 100 levels"),
        (json.loads(_nested(900)), "more than 100 levels"),
        (float("nan"), "NaN"),
        ({"a": [float("inf")]}, "infinite"),
        ({"a": {1, 2}}, "set"),
        (b"hush", "bytes"),
        ({"hush\ud800": 1}, "surrogate"),
        (datetime.datetime(2026, 11, 23), "datetime"),
        (_itself(), "itself"),
    ],
)
def test_check_rejects_other_values_by_name(value: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        json_values.check("result", value)
    assert caught.value.name == "result"
    assert "hush" not in str(caught.value)


def test_check_rejects_a_value_that_contains_itself() -> None:
    with pytest.raises(InputError, match="too deeply"):
        json_values.check("result", _deep())


# -- reads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"a": [1, -2, 1.5, "é\\ud83d\\ude00", null, true]}', "[]", " 5 "])
def test_decode_reads_json(text: str) -> None:
    assert json_values.decode(text) == json_values.decode(text.encode()) == json.loads(text)


def test_decode_reads_a_long_integer_as_digits() -> None:
    assert json_values.decode('{"a": [%s, 7]}' % ("9" * 5000)) == {"a": ["9" * 5000, 7]}


@pytest.mark.parametrize("levels", [2_000, 100_000])
def test_decode_truncates_deep_nesting_and_keeps_the_rest(levels: int) -> None:
    text = json.dumps({"before": '[{"\\', "deep": "X", "after": [[1], {"é": "]"}]})
    read = json_values.decode(text.replace('"X"', _nested(levels, '"[["')).encode())
    assert read["before"] == '[{"\\'
    assert read["after"] == [[1], {"é": "]"}]
    inner, depth = read["deep"], 1
    while isinstance(inner, list):
        (inner,), depth = inner, depth + 1
    assert (inner, depth) == ("(nested deeper than 100 levels, truncated)", 100)


@pytest.mark.parametrize("text", ["", "x", "{", "[1", "[" * 100_000, _nested(5_000) + "]", '"' * 9])
def test_decode_rejects_invalid_json(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is json's
        json_values.decode(text)


def test_decode_takes_linear_time_for_an_unfinished_string() -> None:
    # A search that restarts at every quote takes minutes.
    with pytest.raises(ValueError):  # noqa: PT011 - the message is json's
        json_values.decode('{"a":' + "[" * 3000 + '"' + '\\"' * 200_000)


# -- sanitize --------------------------------------------------------------------------------------

_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from([-(2**70), {1}, b"x", datetime.date(2026, 1, 1)])
    # hypothesis cannot print such a number.
    | st.none().map(lambda _: 10**5000),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=3), inner, max_size=3)
        | inner.map(lambda value: [[[value]]])
    ),
    max_leaves=8,
)


@given(_ANYTHING, st.sampled_from([63, 14_000]))
@settings(max_examples=200, deadline=None)
def test_sanitize_returns_json_for_anything(value: Any, bits: int) -> None:
    sanitized, replaced = json_values.sanitize(value, integer_bits=bits)
    json_values.check("sanitized", sanitized)
    if replaced:
        assert json_values.sanitize(sanitized, integer_bits=bits) == (sanitized, [])
    else:
        assert sanitized == value


def test_sanitize_truncates_a_value_that_contains_itself() -> None:
    sanitized, replaced = json_values.sanitize(_deep())
    assert "nested deeper than 100 levels, truncated" in json.dumps(sanitized)
    assert len(replaced) == 1
