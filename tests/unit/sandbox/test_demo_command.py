"""The command line of ``demo``: the example and its parameters."""

from __future__ import annotations

from typing import Any

import pytest

from st2_mistral_sandbox.commands.demo import parse_parameters, select_example
from st2actions_mistral.errors import InputError

KNOWN = {
    "text": {"type": "string"},
    "bare": {},
    "number": {"type": "integer"},
    "yes": {"type": "boolean"},
    "names": {"type": "array"},
    "thing": {"type": "object"},
}


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("text=a=b", "text", "a=b"),
        ("text=", "text", ""),
        ("bare=5", "bare", "5"),
        ("number=5", "number", 5),
        ("yes=true", "yes", True),
        ("names=a, b,,c", "names", ["a", "b", "c"]),
        ('names=["a,b"]', "names", ["a,b"]),
        ('thing={"a": 1}', "thing", {"a": 1}),
    ],
)
def test_value_is_parsed_by_the_type_of_its_parameter(argument: str, name: str, value: Any) -> None:
    assert parse_parameters([argument], KNOWN) == {name: value}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("text", "text: write parameters as key=value."),
        ("other=1", "other: is an unknown parameter; the parameters are: text, bare"),
        ("number=many", "number: 'many' is not of type integer."),
        ("thing={", "thing: '{' is not of type object."),
    ],
)
def test_invalid_argument_is_rejected(argument: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("{", r"\{")):
        parse_parameters([argument], KNOWN)


def test_missing_parameter_is_rejected() -> None:
    known = {"cmd": {"required": True}, "times": {"required": True, "default": 1}}
    with pytest.raises(InputError, match="cmd: is required: write cmd=value"):
        parse_parameters(["times=2"], known)


def test_immutable_parameter_is_rejected() -> None:
    known = {"cmd": {}, "workflow": {"immutable": True, "required": True, "default": "main"}}
    with pytest.raises(InputError, match="workflow: is an unknown parameter; the parameters are: cmd"):
        parse_parameters(["workflow=other"], known)


@pytest.mark.parametrize(
    ("example", "parameters", "selected"),
    [
        (None, [], ("examples.mistral-basic", ["cmd=date"])),
        ("cmd=ls", [], ("examples.mistral-basic", ["cmd=ls"])),
        ("cmd=ls", ["timeout=3"], ("examples.mistral-basic", ["cmd=ls", "timeout=3"])),
        ("retry", ["seconds=1"], ("retry", ["seconds=1"])),
    ],
)
def test_default_example_is_used_without_a_name(
    example: str | None, parameters: list[str], selected: tuple[str, list[str]]
) -> None:
    assert select_example(example, parameters) == selected
