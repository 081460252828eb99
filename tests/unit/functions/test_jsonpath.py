"""JSONPath queries."""

from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.jsonpath import jsonpath_query

DATA: dict[str, Any] = {
    "a": {"b": {"c": 1234}},
    "animals": ["bird", "rabbit", "cat"],
    "people": [{"first": "James", "last": "d"}, {"first": "Jacob"}, {"missing": "x"}],
    "hosts": {"server.domain.tld": {"uptime": 9999}, "client": {"uptime": 12}},
    "nothing": None,
    "empty": {},
    "none": [],
    "word": "text",
    "no": False,
    "a-b": 5,
    "nested": [[1, 2], [3], []],
    "[*]": 7,
}

# What jsonpath-rw 1.4.0 returns, which StackStorm 3.9 has (recorded).
RECORDED: list[tuple[str, Any]] = [
    ("a.b.c", [1234]),
    ("$", [DATA]),
    ("animals[1]", ["rabbit"]),
    ("animals[-1]", ["cat"]),
    ("animals[9]", None),
    ("animals[*]", ["bird", "rabbit", "cat"]),
    ("animals[1:3]", ["rabbit", "cat"]),
    ("animals[:2]", ["bird", "rabbit"]),
    ("animals[2:]", ["cat"]),
    ("people[*].first", ["James", "Jacob"]),
    ("people.first", None),
    ("people[0]['first','last']", ["James", "d"]),
    ("people[0].(first|last)", ["James", "d"]),
    ("people[*] where last", [{"first": "James", "last": "d"}]),
    ("hosts.'server.domain.tld'", [{"uptime": 9999}]),
    ("hosts.*.uptime", [9999, 12]),
    ("$..first", ["James", "Jacob"]),
    ("a..c", [1234]),
    ("a.b.`parent`", [{"b": {"c": 1234}}]),
    ("a.b.`this`", [{"c": 1234}]),
    ("a.b.$.word", ["text"]),
    ("nothing", [None]),
    ("nothing.x", None),
    ("no", [False]),
    ("a-b", [5]),
    ("nope", None),
    ("nested[*][0]", [1, 3]),
    ("nested[*][*]", [1, 2, 3]),
    # jsonpath-ng returns something else for these.
    ("a[*]", [{"b": {"c": 1234}}]),
    ("empty[*]", [{}]),
    ("word[*]", ["text"]),
    ("word[0]", ["t"]),
    ("animals.*", None),
    ("people.*", None),
    ("none[*]", None),
]


@pytest.mark.filterwarnings("ignore:The `\\|`:DeprecationWarning")
@pytest.mark.parametrize(("query", "found"), RECORDED, ids=[query for query, _ in RECORDED])
def test_results_are_those_of_stackstorm(query: str, found: Any) -> None:
    assert jsonpath_query({}, DATA, query) == found


@pytest.mark.parametrize("query", ["a[0]", "[0]", "a.b[0]", "none[-1]", "nothing[0]"])
def test_index_of_what_has_none_finds_nothing(query: str) -> None:
    """jsonpath-rw raises an error, which would end the workflow."""
    assert jsonpath_query({}, DATA, query) is None


def test_quoted_brackets_are_a_name() -> None:
    assert jsonpath_query({}, DATA, "'[*]'") == [7]


def test_lists_of_yaql_can_be_queried() -> None:
    assert jsonpath_query({}, ({"a": 1}, {"a": 2}), "[*].a") == [1, 2]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "'' is not a query"),
        ("a b", "'a b' is not a query"),
        ("a & b", "StackStorm's JSONPath has no Intersect"),
        ("a[::0]", "the step of a slice must not be 0"),
        ("a." * 400 + "a" + "." * 300, "has 1101 characters. It may have 1000"),
        ("(" * 500, "is not a query|nested too deeply"),
    ],
)
@pytest.mark.filterwarnings("ignore:The `&`:DeprecationWarning")
def test_invalid_query(query: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        jsonpath_query({}, DATA, query)


def test_query_with_too_many_results_is_stopped() -> None:
    deep: dict[str, Any] = {}
    for _ in range(90):
        deep = {"a": deep}
    with pytest.raises(InputError, match="the query takes more than 300000 steps"):
        jsonpath_query({}, deep, "$..*..*..*..*..*")
