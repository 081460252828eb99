"""StackStorm's renderer returns every literal unchanged, to the last byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st2_mistral_sandbox.stackstorm.datastore import Datastore
from st2_mistral_sandbox.stackstorm.rendering import Renderer
from st2actions_mistral.model.literals import as_literals

_RENDERER = Renderer(Datastore())

_WORDS = [
    *"{}%#\"'\\\n\r\t -+.|$éñ😀`",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{{{",
    "{{-",
    "-}}",
    "{%+",
    "-%}",
    "\r\n",
    "\\n",
    "\\u007b",
    "raw",
    "endraw",
    "{% raw %}",
    "{% endraw %}",
    "{%- endraw -%}",
    '"{{x}}"',
    "{{ st2kv.system.x }}",
    "{{ {}|string|first }}",
    "x",
    "1",
    "\u2028",
    "\x85",
    "\x00",
    "\x0b",
]
_texts = st.lists(st.sampled_from(_WORDS), max_size=12).map("".join)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=8,
)


def rendered(parameters: dict[str, Any]) -> dict[str, Any]:
    """Render as StackStorm does: at the POST, and again for the runner."""
    schemas: dict[str, Any] = {name: {} for name in parameters}
    live = _RENDERER.live_parameters(as_literals(parameters), {}, schemas, {})
    return _RENDERER.final_parameters(live, {}, schemas, {})


@given(_texts)
@settings(max_examples=150, deadline=None)
def test_string_arrives_unchanged(text: str) -> None:
    assert rendered({"p": text}) == {"p": text}


@given(_values)
@settings(max_examples=150, deadline=None)
def test_nested_value_arrives_unchanged(value: Any) -> None:
    arrived = rendered({"p": value})["p"]
    assert arrived == value
    assert repr(arrived) == repr(value)


@given(st.dictionaries(st.sampled_from(["a", "b", "st2kv_"]), _values, max_size=3))
@settings(max_examples=50, deadline=None)
def test_parameters_are_independent(parameters: dict[str, Any]) -> None:
    assert rendered(parameters) == parameters


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1 + 1 }}",
        "{{ undefined.x }}",
        "{{ st2kv.system.secret | decrypt_kv }}",
        "{% raw %}{{ 1 }}{% endraw %}",
        "{% endraw %}{{ 1 }}",
        "line\r\nline\n{{ 1 }}\n",
        "{{ '\\\"' }}",
        "{{",
        "{% if",
        "😀 {{ é }}",
    ],
)
def test_known_traps_arrive_unchanged(text: str) -> None:
    value = {"p": text, "q": [text, {text: text}]}
    assert rendered(value) == value


@pytest.mark.parametrize(
    "value", ["", "plain", "{ a }", "{# no tag #}", "}}", 5, None, True, [], {"a": {"b": {}}}, ["%}"]]
)
def test_plain_values_are_not_changed(value: Any) -> None:
    assert as_literals({"p": value}) == {"p": value}


def test_tuple_is_treated_as_a_list() -> None:
    sent = as_literals({"p": ("{{ 1 + 1 }}",)})
    assert _RENDERER.live_parameters(sent, {}, {"p": {}}, {}) == {"p": ["{{ 1 + 1 }}"]}


def test_as_literals_does_not_change_its_input() -> None:
    given_ = {"p": ["{{ 1 }}", {"{{ 2 }}": 3}]}
    as_literals(given_)
    assert given_ == {"p": ["{{ 1 }}", {"{{ 2 }}": 3}]}
