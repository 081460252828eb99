"""Rendering of parameters. Tests of clients rely on it being exactly StackStorm's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from st2_mistral_sandbox.stackstorm.datastore import Datastore
from st2_mistral_sandbox.stackstorm.json_format import to_json
from st2_mistral_sandbox.stackstorm.rendering import Renderer, RenderingError


@pytest.fixture
def datastore() -> Datastore:
    store = Datastore()
    store.put("plain", "v1", user="u")
    store.put("deep.key", "v2", user="u")
    store.put("password", "hunter2", user="u", secret=True)
    store.put("mine", "own", scope="user", user="u")
    return store


@pytest.fixture
def renderer(datastore: Datastore) -> Renderer:
    return Renderer(datastore)


def live(renderer: Renderer, schemas: dict[str, Any] | None = None, **parameters: Any) -> Any:
    return renderer.live_parameters(parameters, {"user": "u", "a": 1, "quote": '"'}, schemas or {}, {})


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{ 1 + 1 }}", "2"),
        ("no template", "no template"),
        ("echo {{ bad", "echo {{ bad"),
        ("{# comment #}{{ 1 }}", "1"),
        ("{# a comment alone is no template #}", "{# a comment alone is no template #}"),
        ("{{ 1 }}\n", "1"),
        ("{{ 1 }}\n\n", "1\n"),
        ("  {% if true %}\nx{% endif %}\n\n", "x"),
        ("  {% if true %}\nx{% endif %}\n\n\n", "x\n"),
        ("{% raw %}{{ 1 }}{% endraw %}", "{{ 1 }}"),
        ("{% raw %}\n{{ 1 }}\n{% endraw %}\n", "\n{{ 1 }}\n"),
        ("{% raw %}{{ 1 }}\n\n{% endraw %}", "{{ 1 }}\n\n"),
        ("{{ action_context.user }} {{ action_context.a }}", "u 1"),
        ("{{ st2kv.system.plain }}", "v1"),
        ("{{ st2kv.system.deep.key }}", "v2"),
        ("{{ st2kv.user.mine }}", "own"),
        ("[{{ st2kv.system.nothing }}]", "[]"),
        ("{{ st2kv.system.password | decrypt_kv }}", "hunter2"),
    ],
)
def test_text_is_rendered(renderer: Renderer, template: str, rendered: str) -> None:
    assert live(renderer, p=template) == {"p": rendered}


def test_secret_is_ciphertext_until_decrypted(renderer: Renderer) -> None:
    assert "hunter2" not in live(renderer, p="{{ st2kv.system.password }}")["p"]


def test_structure_is_rendered_as_one_text(renderer: Renderer) -> None:
    value = {"n": "{{number}}", "t": "{{ number }}", "l": ["{{ 1 + 1 }}", 5, None, "ü"]}
    assert live(renderer, p=value, number=7)["p"] == {"n": 7, "t": "7", "l": ["2", 5, None, "ü"]}


def test_structure_that_renders_to_invalid_json_fails(renderer: Renderer) -> None:
    with pytest.raises(RenderingError, match='Failed to render parameter "p"'):
        live(renderer, p={"a": "{{ action_context.quote }}"})


def test_structure_whose_python_representation_does_not_parse_is_unchanged(renderer: Renderer) -> None:
    """The quotes in the representation break this template."""
    value = {"a": "{{ '\"' }}"}
    assert live(renderer, p=value)["p"] == value


def test_parameters_may_refer_to_each_other(renderer: Renderer) -> None:
    assert live(renderer, a="{{ b }}!", b="{{ c }}", c="x") == {"a": "x!", "b": "x", "c": "x"}


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"p": "{{ nope.x }}"}, 'Dependency unsatisfied in variable "nope"'),
        ({"p": "{{ action_context.nope }}"}, 'Failed to render parameter "p": .*nope'),
        ({"p": "{{ 1 / 0 }}"}, 'Failed to render parameter "p": division by zero'),
        ({"p": "{{ q }}", "q": "{{ p }}"}, "Cyclic dependency found in .* p, q"),
        ({"p": "{{ st2kv.system.no | decrypt_kv }}"}, "doesn't exist or it contains an empty"),
        ({"p": "{{ ''.__class__.__mro__ }}"}, "Failed to render"),
    ],
)
def test_invalid_template_fails(renderer: Renderer, parameters: Any, text: str) -> None:
    with pytest.raises(RenderingError, match=text):
        live(renderer, **parameters)


def test_rendered_value_is_cast_to_the_type_of_its_parameter(renderer: Renderer) -> None:
    schemas = {"i": {"type": "integer"}, "o": {"type": "object"}, "b": {"type": "boolean"}}
    rendered = live(renderer, schemas, i="{{ 2 + 3 }}", o='{"a": {{ 1 }}}', b="{{ 'true' }}")
    assert rendered == {"i": 5, "o": {"a": 1}, "b": True}


def test_default_with_a_template_becomes_a_parameter(renderer: Renderer) -> None:
    schemas = {"d": {"default": "{{ st2kv.system.plain }}"}, "e": {"default": "plain"}}
    assert live(renderer, schemas) == {"d": "v1"}


def test_default_with_a_template_replaces_a_given_template(renderer: Renderer) -> None:
    """StackStorm puts the default into the graph node of the given template."""
    schemas = {"d": {"default": "{{ 'default' }}"}}
    assert live(renderer, schemas, d="{{ 'given' }}") == {"d": "default"}
    assert live(renderer, schemas, d="given") == {"d": "given"}


def test_final_parameters_have_defaults_and_are_not_rendered_again(renderer: Renderer) -> None:
    schemas: dict[str, Any] = {
        "cmd": {"type": "string"},
        "env": {"default": {"PW": "{{ pw }}"}},
        "pw": {},
    }
    final = renderer.final_parameters(
        {"cmd": "{{ 1 }}", "pw": "s"}, {"user": "u"}, schemas, {"t": {"default": 60}}
    )
    assert final == {"cmd": "{{ 1 }}", "pw": "s", "env": {"PW": "s"}, "t": 60}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON)
def test_json_equals_the_output_of_orjson(value: Any) -> None:
    assert to_json(value).encode() == orjson.dumps(value)
