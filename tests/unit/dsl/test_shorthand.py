"""Calls in one line, compared with Mistral's own parser."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mistral import exceptions
from mistral.lang.base import BaseSpec

from st2actions_mistral.dsl import shorthand
from st2actions_mistral.errors import InputError

TABLE: list[tuple[str, str, dict[str, Any]]] = [
    ("core.local", "core.local", {}),
    ("core.local cmd=<% $.cmd %>", "core.local", {"cmd": "<% $.cmd %>"}),
    ("core.local cmd={{ _.cmd }}", "core.local", {"cmd": "{{ _.cmd }}"}),
    ("examples.mongo-db host='a b'  port=27017", "examples.mongo-db", {"host": "a b", "port": 27017}),
    ('std.echo output="it\'s <% $.x %>"', "std.echo", {"output": "it's <% $.x %>"}),
    ("a.b x=true y=false z=null", "a.b", {"x": True, "y": False, "z": None}),
    ('a.b list=[1, "two", null]', "a.b", {"list": [1, "two", None]}),
    # Not JSON: the value is the text.
    ("a.b list=[one, two] n=007", "a.b", {"list": "[one, two]", "n": "007"}),
    ("a.b empty='' also=\"\"", "a.b", {"empty": "", "also": ""}),
    ("a.b text='over\ntwo lines'", "a.b", {"text": "over\ntwo lines"}),
    # Mistral ignores such values, or a part of them.
    ("a.b word=bare float=1.5 minus=-1", "a.b", {"float": 1}),
    ("a.b x=trueish", "a.b", {"x": True}),
    ("a.b open='never closed", "a.b", {}),
    ("a.b first=[1] text=']' second=[2]", "a.b", {"first": "[1] text=']' second=[2]"}),
    ("a.b dash-ed=1 _=2", "a.b", {"dash-ed": 1, "_": 2}),
    ("a.b twice=1 twice=2", "a.b", {"twice": 2}),
    ("<% $.action %> x=1", "<% $.action %>", {"x": 1}),
    ("{{ _.action }} x=1", "{{ _.action }}", {"x": 1}),
    ("pack.<% $.action %> x=1", "pack.<%", {"x": 1}),
    # Without a blank there is no input.
    ("a.b\tx=1", "a.b\tx=1", {}),
    ("", "", {}),
]


@pytest.mark.parametrize(("line", "name", "inputs"), TABLE)
def test_parse_gives_the_same_as_mistral(line: str, name: str, inputs: dict[str, Any]) -> None:
    assert shorthand.parse(line) == (name, inputs)
    assert BaseSpec._parse_cmd_and_input(line) == (name, inputs)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("a.b cmd=date cwd='/tmp' user=me", ["cmd", "user"]),
        ("a.b x='y=z' list=[a=b] <% c=d %>", ["c"]),
        ("a.b\tx=y", []),
        ("a.b x=-1 y=1", ["x"]),
        ("a.b", []),
    ],
)
def test_ignored_inputs(line: str, names: list[str]) -> None:
    assert shorthand.ignored_inputs(line) == names


def test_parse_rejects_a_line_without_a_name() -> None:
    with pytest.raises(shorthand.InvalidCallError, match="'=x y=1' does not start with a name"):
        shorthand.parse("=x y=1")


def test_invalid_call_error_has_the_line() -> None:
    with pytest.raises(shorthand.InvalidCallError) as caught:
        shorthand.parse("!my_action a=1")
    assert caught.value.call == "!my_action a=1"


def test_a_long_word_is_searched_once() -> None:
    # Searched again from each letter, this takes half an hour.
    line = "std.noop " + "a" * 400_000
    assert shorthand.name_of(line) == "std.noop"
    assert shorthand.parse(f"{line} b=1") == ("std.noop", {"b": 1})


# Combinations of meaningful pieces are often nearly valid.
WORDS = (
    "core.local",
    "std.echo",
    "x=",
    " y=",
    "true",
    "false",
    "null",
    "<%",
    "%>",
    "{{",
    "}}",
    "{%",
    "%}",
)
PIECES = st.sampled_from((*WORDS, *"a-_= \n\t\"'[],(.%012٣é"))
LINES = st.lists(PIECES | st.text(max_size=3), max_size=20).map("".join)


@given(LINES | st.builds("a.b {}".format, LINES))
@example("a.b x=" + "9" * 5000)
@example("a.b x=" + "[" * 100_000 + "]")
@example("a.b x=[NaN] y={{ a }} }} z={% b %}")
@example("{% if a %} b=1 {% endif %} c=2")
@example("a.b x=1y=2 z='3'u=4 -=5 v==6")
def test_parse_gives_the_same_as_mistral_for_any_line(line: str) -> None:
    try:
        expected = BaseSpec._parse_cmd_and_input(line)
    except exceptions.InvalidModelException:
        with pytest.raises(InputError):
            shorthand.parse(line)
        return
    # NaN equals nothing.
    assert repr(shorthand.parse(line)) == repr(expected)
