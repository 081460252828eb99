"""The choice of a language for expressions."""

from __future__ import annotations

import pytest

from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.languages import Language, language_of


@pytest.mark.parametrize(
    ("task", "language"),
    [
        ("{action: std.noop}", None),
        ("{action: std.noop, description: <% 1 %>}", None),
        ("{action: 'std.echo output=<% 1 %>'}", Language.YAQL),
        ("{with-items: ['i in <% $.a %>'], action: std.noop}", Language.YAQL),
        ("{action: std.noop, on-success: [other: '{{ 1 }}']}", Language.JINJA),
        ("{action: std.noop, publish: {a: '{{ 1 }}', b: <% 1 %>}}", Language.YAQL),
    ],
)
def test_language_of_a_definition(task: str, language: Language | None) -> None:
    text = f"{{version: '2.0', flow: {{tasks: {{one: {task}}}}}}}"
    assert language_of(Definition.parse(text, "flow.yaml")) is language


def test_expressions_have_the_brackets_of_their_language() -> None:
    assert Language.YAQL.expression("env()") == "<% env() %>"
    assert Language.JINJA.expression("env()") == "{{ env() }}"
