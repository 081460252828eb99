"""Templates of Jinja, and parameters that StackStorm resolves."""

from __future__ import annotations

from typing import Any

import pytest
from mistral.expressions import evaluate_recursively

from st2actions_mistral.dsl.jinja import codes, resolve_in_stackstorm

KEY = "{{ st2kv.system.x }}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a {{ b }} {% if c %}", [(" b ", False), (" if c ", True)]),
        ("{{ '}}' + \"%}\" }}", [(" '' + '' ", False)]),
        ("{% raw %}{{ a }}{%- endraw -%}{# {{ b }} #}{{ c }}", [(" c ", False)]),
        ("{{ 'it\\'s }}' }}", [(" '' ", False)]),
        ("{{ a", []),
        ("{{ ' }}", [(" ' ", False)]),
        ("{{" * 1000, []),
    ],
)
def test_codes(text: str, found: list[tuple[str, bool]]) -> None:
    assert list(codes(text)) == found


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        "{{st2kv.user.x|decrypt_kv}}",
        f"echo \"{KEY}\" and 'more'\n",
        "\n{{ st2kv['system']['x'] | to_json_string(indent=2) }}\r\n\\",
        {"a": [KEY, 1, None], "b": {"c": "plain"}},
        [f"{KEY}{{{{ st2kv.system.y }}}}"],
        "{% if st2kv.system.x %}a{% endif %}",
        "{{ st2kv.system.x_ }} _",
    ],
)
def test_parameter_with_a_key_only_reaches_stackstorm_unchanged(value: Any) -> None:
    inputs = {"ref": "core.local", "parameters": {"cmd": value, "other": "<% $.x %>"}}
    made, names = resolve_in_stackstorm(inputs)
    assert names == made["render_jinja"] == ["cmd"]
    assert made["parameters"]["other"] == "<% $.x %>"
    assert evaluate_recursively(made["parameters"]["cmd"], {"x": 1}) == value


@pytest.mark.parametrize(
    "value",
    [
        "{{ _.x }}",
        "{{ _.x }} and {{ st2kv.system.x }}",
        "<% $.x %> {{ st2kv.system.x }}",
        "{{ st2kv('system.x') }} {{ st2kv.system.x }}",
        "{{ task('a').result }} {{ st2kv.system.x }}",
        "{% raw %}{{ st2kv.system.x }}{% endraw %}",
        '{{ "{{ st2kv.system.x }}" }}',
        "{{ _.st2kv.system }}",
        "st2kv.system.x",
        5,
        {"a": KEY, "b": "<% $.x %>"},
    ],
)
def test_parameter_for_mistral_is_not_changed(value: Any) -> None:
    inputs = {"parameters": {"cmd": value}}
    assert resolve_in_stackstorm(inputs) == (inputs, [])


@pytest.mark.parametrize(
    ("rendered", "made"),
    [(None, ["cmd"]), ([], ["cmd"]), (["a", "cmd"], ["a", "cmd"]), (["a"], ["a", "cmd"]), (True, True)],
)
def test_names_are_added_to_render_jinja(rendered: Any, made: Any) -> None:
    inputs = {"parameters": {"cmd": KEY}, "render_jinja": rendered}
    assert resolve_in_stackstorm(inputs)[0]["render_jinja"] == made


@pytest.mark.parametrize("rendered", [False, "<% $.x %>"])
def test_author_who_wants_no_rendering_gets_none(rendered: Any) -> None:
    inputs = {"parameters": {"cmd": KEY}, "render_jinja": rendered}
    assert resolve_in_stackstorm(inputs) == (inputs, [])


@pytest.mark.parametrize("parameters", ["<% $.x %>", None, [KEY]])
def test_parameters_that_are_no_object_are_not_changed(parameters: Any) -> None:
    assert resolve_in_stackstorm({"parameters": parameters})[1] == []
