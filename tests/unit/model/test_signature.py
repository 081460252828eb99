"""The signature of a StackStorm action, as Mistral shows it."""

from __future__ import annotations

from typing import Any

import pytest
from mistral_lib.utils import NotDefined, get_dict_from_string

from st2actions_mistral.model.signature import signature_of


def spec_of(parameters: Any) -> str:
    made = signature_of({"ref": "pack.name", "parameters": parameters})
    assert made is not None
    return made.spec


def test_signature_of_an_action_with_parameters_of_its_runner() -> None:
    made = signature_of(
        {
            "id": "6b03c5240f2aad3b16927cfd",
            "ref": "core.local",
            "description": "Action that executes an arbitrary Linux command on the localhost.",
            "enabled": True,
            "parameters": {
                "timeout": {"type": "integer", "default": 60},
                "kwarg_op": {"type": "string", "default": "--"},
                "sudo": {"type": "boolean", "default": False, "immutable": True},
                "cmd": {"type": "string", "required": True},
                "sudo_password": {"type": "string", "default": None, "secret": True},
                "cwd": {"type": "string"},
            },
        }
    )
    assert made is not None
    assert str(made) == ('core.local(cmd, cwd=null, kwarg_op="--", sudo_password=null, timeout=60)')
    assert (made.pack, made.description[:11]) == ("core", "Action that")


def test_required_parameters_come_first_and_both_parts_are_sorted() -> None:
    parameters = {
        "b": {},
        "z": {"required": True},
        "with_default": {"required": True, "default": 1},
        "c": {"required": True},
        "fixed": {"required": True, "immutable": True},
    }
    assert spec_of(parameters) == "c, z, b=null, with_default=1"


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"default": "x"}, '"x"'),
        ({"default": True}, "true"),
        ({"default": 0}, "0"),
        ({"default": ""}, '""'),
        ({"default": []}, "[]"),
        ({"default": {}}, "{}"),
        ({"default": "é"}, '"é"'),
        ({"default": "{{ st2kv.system.plain }}"}, '"{{ st2kv.system.plain }}"'),
        # Mistral splits at commas and equal signs, and does not check an input with "**".
        ({"default": "a,b"}, "..."),
        ({"default": "a=b"}, "..."),
        ({"default": "**"}, "..."),
        ({"default": ["a"]}, "..."),
        ({"default": {"a": 1}}, "..."),
        ({"default": "x" * 39}, "..."),
        ({"default": "a\u2028b"}, "..."),
        ({"default": "hunter2", "secret": True}, "********"),
        ({"secret": True}, "null"),
        (None, "null"),
        ("text", "null"),
    ],
)
def test_default_is_shown_if_mistral_can_read_it(schema: Any, shown: str) -> None:
    assert spec_of({"name": schema}) == f"name={shown}"


def test_mistral_reads_the_names_of_all_parameters() -> None:
    defaults = [1, "a,b", "a=b", "**", ["x", "y"], {"k": "v"}, "x\ny", None, "ü"]
    parameters: dict[str, Any] = {f"p{n}": {"default": value} for n, value in enumerate(defaults)}
    parameters |= {"class": {"required": True}, "1st": {"required": True}, "größe": {}}
    read = get_dict_from_string(spec_of(parameters))
    assert set(read) == set(parameters)
    assert {name for name, value in read.items() if value is NotDefined} == {"class", "1st"}


@pytest.mark.parametrize("name", ["a,b", "a=b", "", " a", "a\n", "a b", "**", "st2_context"])
def test_parameter_that_mistral_cannot_name_is_left_out(name: str) -> None:
    assert spec_of({name: {"required": True}, "b": {}}) == "b=null"


@pytest.mark.parametrize("parameters", [None, [], "text", 7])
def test_parameters_of_another_type_are_none(parameters: Any) -> None:
    assert spec_of(parameters) == ""


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"ref": None},
        {"ref": 7},
        {"ref": ""},
        {"ref": "name"},
        {"ref": "pack."},
        {"ref": "pack.a b"},
        {"ref": "pack.a\nb"},
        {"ref": "pack." + "x" * 251},
        {"ref": "pack.name", "enabled": False},
        {"ref": "pack.name", "parameters": {f"p{n}": {} for n in range(201)}},
    ],
)
def test_action_that_cannot_be_offered(row: dict[str, Any]) -> None:
    assert signature_of(row) is None


@pytest.mark.parametrize(
    "ref", ["core.local", "st2.kv.get", "examples.mistral-basic", "p." + "x" * 253]
)
def test_action_that_is_offered(ref: str) -> None:
    made = signature_of({"ref": ref})
    assert made is not None
    assert (made.ref, made.description, made.spec) == (ref, "", "")


def test_long_or_unknown_description_is_bounded() -> None:
    made = signature_of({"ref": "pack.name", "description": "x" * 5000})
    assert made is not None
    assert len(made.description) == 1000
    made = signature_of({"ref": "pack.name", "description": ["x"]})
    assert made is not None
    assert made.description == ""
