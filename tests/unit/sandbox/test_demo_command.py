"""``key=value`` on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from st2_mistral_sandbox.commands.demo import parse_parameters, wanted
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
    ("word", "name", "value"),
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
def test_values_are_read_by_their_type(word: str, name: str, value: Any) -> None:
    assert parse_parameters([word], KNOWN) == {name: value}


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("text", "text: write parameters as key=value."),
        ("other=1", "other: is no parameter of this example; it has text, bare"),
        ("number=many", "number: 'many' is not of type integer."),
        ("thing={", "thing: '{' is not of type object."),
    ],
)
def test_what_cannot_be_read_is_named(word: str, told: str) -> None:
    with pytest.raises(InputError, match=told.replace("{", r"\{")):
        parse_parameters([word], KNOWN)


def test_what_is_missing_is_named_before_anything_starts() -> None:
    known = {"cmd": {"required": True}, "times": {"required": True, "default": 1}}
    with pytest.raises(InputError, match="cmd: is required: write cmd=value"):
        parse_parameters(["times=2"], known)


def test_what_is_immutable_is_not_offered() -> None:
    known = {"cmd": {}, "workflow": {"immutable": True, "required": True, "default": "main"}}
    with pytest.raises(InputError, match="workflow: is no parameter of this example; it has cmd"):
        parse_parameters(["workflow=other"], known)


@pytest.mark.parametrize(
    ("example", "parameters", "found"),
    [
        (None, [], ("examples.mistral-basic", ["cmd=date"])),
        ("cmd=ls", [], ("examples.mistral-basic", ["cmd=ls"])),
        ("cmd=ls", ["timeout=3"], ("examples.mistral-basic", ["cmd=ls", "timeout=3"])),
        ("retry", ["seconds=1"], ("retry", ["seconds=1"])),
    ],
)
def test_without_an_example_it_is_the_default_one(
    example: str | None, parameters: list[str], found: tuple[str, list[str]]
) -> None:
    assert wanted(example, parameters) == found
