"""The values that YAQL and Jinja pass to a function."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.values import library, plain, text


class Loud(str):
    """A text of another class, such as Jinja's Markup."""


def test_plain_makes_lists_of_everything_that_can_be_iterated() -> None:
    found = plain("f", {"a": (1, iter([2])), "b": {"x": None}.keys(), "c": frozenset({3})})
    assert found == {"a": [1, [2]], "b": ["x"], "c": [3]}


def test_plain_returns_exact_types() -> None:
    found = plain("f", [Loud("x"), True, None, 1.5])
    assert [type(item) for item in found] == [str, bool, type(None), float]
    assert type(plain("f", Loud("x"))) is str


def test_plain_makes_texts_of_keys_that_json_has_not() -> None:
    assert plain("f", {(1, 2): 3, None: 4, True: 5}) == {"(1, 2)": 3, None: 4, True: 5}


def test_plain_stops_at_a_value_that_contains_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InputError, match="f: the value is nested deeper than 100 levels"):
        plain("f", loop)


def test_plain_stops_at_an_iterator_without_end() -> None:
    with pytest.raises(InputError, match="f: the value has more than 1000000 values in it"):
        plain("f", itertools.count())


def test_text_of_a_value() -> None:
    assert text("f", "x") == "x"
    assert text("f", 5) == "5"
    assert text("f", {"a": (1,)}) == "{'a': [1]}"
    with pytest.raises(InputError, match=r"f: the text has 4 characters. It may have 3"):
        text("f", "abcd", 3)
    with pytest.raises(InputError, match=r"f: the value has a number of more than 4200 digits"):
        text("f", 10**5000)


def test_missing_library_names_the_extra() -> None:
    with pytest.raises(
        InputError, match=r"f: needs the module no_such. Install st2actions-mistral\[fun"
    ):
        library("f", "no_such")
