"""Filters, order, pages and attributes of the list of executions."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from st2_mistral_sandbox.stackstorm.fault import Fault
from st2_mistral_sandbox.stackstorm.query import projection, select_page
from st2_mistral_sandbox.stackstorm.store import Execution
from st2_mistral_sandbox.stackstorm.timestamps import iso

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)


def execution(number: int, **more: Any) -> Execution:
    defaults: dict[str, Any] = {
        "action": {"ref": "core.noop", "parameters": {}},
        "runner": {"name": "noop", "runner_parameters": {}},
        "parameters": {},
        "context": {"user": "st2admin", "mistral": {"action_execution_id": f"aex-{number}"}},
        "id": f"{number:024x}",
        "start": START + timedelta(seconds=number),
    }
    return Execution(**{**defaults, **more})


MANY = [execution(number) for number in range(120)]
SOME = [
    execution(1, status="succeeded", callback={"url": "http://h:1/x"}),
    execution(2, status="failed", parent="p"),
    execution(3, status="succeeded", parent="p", children=["c1", "c2"], delay=1500),
]


def numbers(query: dict[str, str], among: list[Execution] = SOME) -> list[int]:
    return [int(e.id, 16) for e in select_page(among, query).executions]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [3, 2, 1]),
        ({"sort_asc": "true"}, [1, 2, 3]),
        ({"limit": "1", "offset": "1"}, [2]),
        ({"status": "succeeded"}, [3, 1]),
        ({"status": "succeeded,failed"}, []),
        ({"parent": "p", "status": "failed"}, [2]),
        ({"parent": "null"}, [1]),
        ({"user": "nobody"}, []),
        ({"unknown": "ignored"}, [3, 2, 1]),
        ({"filter": "context.mistral.action_execution_id:aex-2"}, [2]),
        ({"filter": "parent:p status:succeeded"}, [3]),
        ({"filter": "liveaction.callback.url:http://h:1/x"}, [1]),
        ({"filter": "children:c2"}, [3]),
        ({"filter": "delay:1500"}, [3]),
        ({"timestamp_gt": iso(START + timedelta(seconds=1))}, [2, 3]),
        ({"timestamp_lt": iso(START + timedelta(seconds=3))}, [2, 1]),
        ({"timestamp": f"{iso(START)}..{iso(START + timedelta(seconds=2))}"}, [1, 2]),
        ({"timestamp": f"{iso(START + timedelta(seconds=2))}..{iso(START)}"}, [2, 1]),
    ],
)
def test_query_selects_executions(query: dict[str, str], expected: list[int]) -> None:
    assert numbers(query) == expected


@pytest.mark.parametrize(
    ("limit", "length", "shown"), [(None, 100, 100), ("101", 101, 101), ("-1", 120, 0)]
)
def test_limit_sets_the_page_size(limit: str | None, length: int, shown: int) -> None:
    page = select_page(MANY, {"limit": limit} if limit else {})
    assert (len(page.executions), page.total, page.limit) == (length, 120, shown)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "-2"},
        {"limit": "many"},
        {"timestamp_gt": "yesterday"},
        {"timestamp_gt": "2026-13-45T00:00:00Z"},
        {"filter": "status"},
        {"filter": "status.in:x"},
        {"include_attributes": "nope"},
        {"exclude_attributes": "action"},
        {"include_attributes": "status", "exclude_attributes": "result"},
    ],
)
def test_invalid_query_is_rejected(query: dict[str, str]) -> None:
    with pytest.raises(Fault) as caught:
        select_page(SOME, query)
    assert caught.value.status == 400


def test_projection_includes_and_excludes_attributes() -> None:
    document = {"id": "i", "status": "s", "action": {"ref": "r", "pack": "p"}, "result": {}}
    include = projection({"include_attributes": "action.ref,status"})
    assert include(document) == {"id": "i", "status": "s", "action": {"ref": "r"}}
    assert "result" not in projection({"exclude_attributes": "result"})(document)
