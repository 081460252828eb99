from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.dsl.mistral_yaml import load
from st2actions_mistral.runner.items import tasks_with_text

WORKFLOW = """
input: [given, {text: abc}, {several: [a]}, {later: "<% list(1, 2) %>"}, {number: 1}]
tasks:
  one:
    with-items: ITEMS
    action: std.noop
"""


def found(items: str, workflow: str = WORKFLOW, **inputs: Any) -> list[tuple[str, str]]:
    return list(tasks_with_text(load(workflow.replace("ITEMS", items), "w.yaml"), inputs))


@pytest.mark.parametrize(
    "items",
    [
        "i in <% $.text %>",
        '"i in {{ _.text }}"',
        "['i in <% $.several %>', 'j in <%$.text%>']",
    ],
)
def test_text_is_found(items: str) -> None:
    assert found(items) == [("one", "text")]


def test_given_value_replaces_the_default() -> None:
    assert found("i in <% $.text %>", text=["a"]) == []
    assert found("i in <% $.several %>", several="a") == [("one", "several")]
    assert found("i in <% $.given %>", given="a,b") == [("one", "given")]


@pytest.mark.parametrize(
    "items",
    [
        "i in <% $.several %>",
        "i in <% $.later %>",
        "i in <% $.number %>",
        "i in <% $.unknown %>",
        "i in <% $.text.split(',') %>",
        "i in [1, 2]",
        "7",
    ],
)
def test_other_values_are_left_to_mistral(items: str) -> None:
    assert found(items) == []


@pytest.mark.parametrize(
    "more",
    [
        "  zero: {action: std.noop, publish: {text: '<% list(1) %>'}, on-success: [one]}",
        "  zero: {action: std.noop, on-success: {publish: {branch: {text: [1]}}, next: [one]}}",
        "vars: {text: [1]}",
    ],
)
def test_value_that_the_workflow_overwrites_is_left_to_mistral(more: str) -> None:
    assert found("i in <% $.text %>", f"{WORKFLOW}{more}\n") == []


def test_workflow_without_tasks_has_none() -> None:
    assert list(tasks_with_text({"input": "a", "tasks": None}, {})) == []
