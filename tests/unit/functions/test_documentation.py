"""Evaluate the examples of the documentation as Mistral does."""

from __future__ import annotations

from typing import Any

import pytest
from mistral.expressions import base, evaluate
from support.function_examples import EXAMPLES, SIGNATURES, Example

OWN = {
    name: function
    for name, function in base.get_custom_functions().items()
    if function.__module__.startswith("st2actions_mistral.")
}
CONTEXT: dict[str, Any] = {"__env": {}, "__execution": {}}


def test_page_has_a_section_for_every_function() -> None:
    assert sorted(SIGNATURES) == sorted(OWN)
    assert {example.function for example in EXAMPLES} == set(OWN)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_example_in_yaql(example: Example) -> None:
    assert evaluate(example.yaql, CONTEXT) == example.result


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_example_in_jinja(example: Example) -> None:
    assert evaluate(example.jinja, CONTEXT) == example.result
