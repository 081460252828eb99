"""Evaluate the examples of the documentation as Mistral does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mistral.expressions import base, evaluate
from support.function_examples import EXAMPLES, KEYS, SIGNATURES, Example

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.cli.function_plugins import signature_of

OWN = {
    name: function
    for name, function in base.get_custom_functions().items()
    if function.__module__.startswith("st2actions_mistral.")
}
CONTEXT: dict[str, Any] = {"__env": {}, "__execution": {}}


@pytest.fixture(autouse=True)
def _with_keys(
    configure: Callable[..., None], st2: StackStorm, key: str, put: Callable[..., None]
) -> None:
    configure(api_url=st2.api_url, api_key=key)
    for kept in KEYS:
        put(**kept)


def test_every_function_has_a_page() -> None:
    assert sorted(SIGNATURES) == sorted(OWN)
    assert sorted(SIGNATURES.values()) == sorted(
        signature_of(name, function) for name, function in OWN.items()
    )
    assert {example.function for example in EXAMPLES} == set(OWN)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_example_in_yaql(example: Example) -> None:
    assert evaluate(example.yaql, CONTEXT) == example.result


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_example_in_jinja(example: Example) -> None:
    assert evaluate(example.jinja, CONTEXT) == example.result
