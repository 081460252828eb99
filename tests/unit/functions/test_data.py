"""JSON and YAML in expressions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from yaql.language.utils import FrozenDict

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions import data


def values(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=20,
    )


# PyYAML itself does not read every control character and line end back as it wrote it.
VISIBLE = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]))
FROZEN = FrozenDict({"a": (1, FrozenDict({"b": None})), "t": (text for text in ["x", "y"])})


@given(values(st.text()))
def test_json_and_back(value: Any) -> None:
    assert data.from_json_string({}, data.to_json_string({}, value)) == value
    assert data.from_json_string({}, data.to_complex({}, value)) == value


@given(values(VISIBLE))
def test_yaml_and_back(value: Any) -> None:
    assert data.from_yaml_string({}, data.to_yaml_string({}, value)) == value


def test_to_json_string_has_the_layout_of_stackstorm_3_2() -> None:
    value = {"b": [1, None], "a": {"c": "é"}}
    assert data.to_json_string({}, value) == json.dumps(value, indent=4, separators=(",", ":"))
    assert data.to_json_string({}, value, None, True) == '{"a":{"c":"\\u00e9"},"b":[1,null]}'
    spaced = data.to_json_string({}, value, indent=None, separators=(", ", ": "))
    assert spaced == '{"b": [1, null], "a": {"c": "\\u00e9"}}'
    assert data.to_json_string({}, value, indent=None, separators=None) == spaced


def test_writers_take_the_frozen_values_of_yaql() -> None:
    assert data.to_complex({}, FROZEN) == '{"a": [1, {"b": null}], "t": ["x", "y"]}'
    assert data.to_yaml_string({}, FrozenDict({"a": (1, 2)})) == "a:\n- 1\n- 2\n"


def test_to_yaml_string_writes_no_anchors() -> None:
    shared = [1]
    assert data.to_yaml_string({}, {"a": shared, "b": shared}) == "a:\n- 1\nb:\n- 1\n"
    assert data.to_yaml_string({}, "é", allow_unicode=False) == '"\\xE9"\n'


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ('foo """ bar', 'foo \\"\\"\\" bar'),
        ("a\\b\b\f\n\r\t", "a\\\\b\\b\\f\\n\\r\\t"),
        ('"quoted"', '\\"quoted\\"'),
        ("", ""),
        (5, "5"),
        (["a"], '["a"]'),
    ],
)
def test_json_escape_fits_between_quotes(value: Any, escaped: str) -> None:
    assert data.json_escape({}, value) == escaped
    if isinstance(value, str):
        assert json.loads(f'"{escaped}"') == value


def test_json_pp_breaks_lines_in_texts() -> None:
    assert data.json_pp({}, {"a": "x\ny"}) == '{\n    "a": "x\ny"\n}'
    assert data.json_pp({}, None) == "null"


@pytest.mark.parametrize("value", ["", 0, False, [], "x", {"a": 1}])
def test_use_none_replaces_null_only(value: Any) -> None:
    assert data.use_none({}, value) == value
    assert data.use_none({}, None) == "%*****__%NONE%__*****%"


def test_from_yaml_string_returns_what_json_has() -> None:
    text = "when: 2026-11-28\nset: !!set {a, b}\nbytes: !!binary aGk=\n1: one\n2026-01-01: day"
    value = data.from_yaml_string({}, text)
    assert value == {
        "when": "2026-11-28",
        "set": ["a", "b"],
        "bytes": "aGk=",
        1: "one",
        "2026-01-01": "day",
    }
    assert data.from_yaml_string({}, "") is None
    assert data.from_yaml_string({}, "base: &b {x: 1}\nother: *b") == {
        "base": {"x": 1},
        "other": {"x": 1},
    }
    assert data.from_yaml_string({}, "a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}


def bomb() -> str:
    """Return a text of 10 lines for a list of 9 ** 9 items."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        aliases = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is not YAML: line [12]: "),
        ("a: b: c", "line 1: mapping values are not allowed"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("--- a\n--- b", "is not YAML: line 2: .*document"),
        ("a: 2026-02-30", "an invalid value"),
        ("&a [*a]", "an anchor contains an alias for itself"),
        ("[" * 5000, "line 1: |nested too deeply"),
        ("[" * 150 + "]" * 150, "nested deeper than 100 levels"),
        (bomb(), "stands for more than 1000000 values"),
        ("a: *b", "undefined alias"),
        ("!!bool maybe", "does not fit its tag"),
        ("!!timestamp today", "does not fit its tag"),
        ("!!int ''", "does not fit its tag"),
        ("0x" + "f" * 4000, "a number of more than 4200 digits"),
    ],
)
def test_from_yaml_string_rejects(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^from_yaml_string: .*({reason})"):
        data.from_yaml_string({}, text)


def test_yaml_reads_the_same_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_LOADER", yaml.SafeLoader)
    assert data.from_yaml_string({}, "a: [1, &x {b: c}, *x]") == {"a": [1, {"b": "c"}, {"b": "c"}]}
    with pytest.raises(InputError, match="stands for more than"):
        data.from_yaml_string({}, bomb())


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: data.from_json_string({}, "{'a': 1}"), "is not JSON: Expecting property name"),
        (lambda: data.from_json_string({}, "[" * 100_000), "nested too deeply"),
        (lambda: data.from_json_string({}, "1" * 5_000_000), "may have 4194304"),
        (lambda: data.to_json_string({}, 1, indent=-1), "indent must be null or a number"),
        (lambda: data.to_json_string({}, 1, indent=True), "indent must be null or a number"),
        (lambda: data.to_json_string({}, 1, separators="x"), "a list of two texts"),
        (lambda: data.to_json_string({}, 1, separators=[1, 2]), "a list of two texts"),
        (lambda: data.to_json_string({}, {1: 2, "a": 3}, sort_keys=True), "different types"),
        (lambda: data.to_yaml_string({}, 1, indent=1000), "indent must be null or a number"),
        (lambda: data.to_complex({}, object()), "a object is not a JSON value"),
        (lambda: data.to_complex({}, 10**5000), "a number of more than 4200 digits"),
        (lambda: data.to_yaml_string({}, [10**5000]), "a number of more than 4200 digits"),
    ],
)
def test_invalid_arguments(call: Callable[[], Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        call()
