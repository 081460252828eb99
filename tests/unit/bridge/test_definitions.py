from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    answer,
)

from st2actions_mistral.bridge.definitions import base_of, required_tasks
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts


@contextlib.contextmanager
def client(url: str) -> Iterator[MistralClient]:
    settings = MistralSettings(f"{url}/v2", timeouts=Timeouts(5, 5, 0))
    with contextlib.closing(MistralClient(settings)) as mistral:
        yield mistral


def ad_hoc(name: str, base: str | None) -> Behaviour:
    definition = f"{name}:\n  base: {base}\n  base-input:\n    ref: core.local" if base else None
    return answer(200, {"id": "i", "name": name, "definition": definition})


def test_base_of_follows_the_chain_to_its_end() -> None:
    chain = [
        ad_hoc("one", "two ref='core.local'"),
        ad_hoc("two", "st2.action"),
        ad_hoc("st2.action", None),
    ]
    with BreakingServer(*chain) as server, client(server.url) as mistral:
        assert base_of(mistral, "one") == "st2.action"
        assert server.calls() == [f"GET /v2/actions/{name}" for name in ("one", "two", "st2.action")]


@pytest.mark.parametrize(
    "definition",
    [None, "", "[1", "5", "one: 5", "one: {base: 5}", "one: {base: ' '}", "one: {base: ''}"],
)
def test_base_of_an_action_without_a_base_is_itself(definition: Any) -> None:
    known = answer(200, {"id": "i", "name": "one", "definition": definition})
    with BreakingServer(known) as server, client(server.url) as mistral:
        assert base_of(mistral, "one") == "one"
    with BreakingServer(answer(404)) as server, client(server.url) as mistral:
        assert base_of(mistral, "one") == "one"


def test_base_of_stops_in_a_cycle() -> None:
    with BreakingServer(ad_hoc("one", "one")) as server, client(server.url) as mistral:
        assert base_of(mistral, "one") == "one"
        assert len(server.requests) <= 10


REVERSE = """
other: {type: reverse, tasks: {t2: {requires: [x]}}}
main:
  type: reverse
  task-defaults: {requires: [t0]}
  tasks:
    t0: {action: std.noop}
    t1: {action: std.noop, requires: t0}
    t2: {action: std.noop, requires: [t1, t0, 5, [t3]]}
    t3: nothing
"""


@pytest.mark.parametrize(
    ("definition", "required"),
    [
        (REVERSE, {"t0": set(), "t1": {"t0"}, "t2": {"t0", "t1"}}),
        ("version: '2.0'\nbook.main: {type: reverse, tasks: {a: {requires: b}}}", {"a": {"b"}}),
        ("ain: {type: reverse, tasks: {a: {requires: b}}}", {}),
        ("main: {tasks: {a: {requires: b}}}", {}),
        ("main: {type: reverse, task-defaults: 5, tasks: [a]}", {}),
        ("main: 5", {}),
        ("5", {}),
        ("main: {", {}),
    ],
)
def test_required_tasks_reads_the_definition(definition: str, required: dict[str, set[str]]) -> None:
    found = answer(200, {"definition": definition})
    with BreakingServer(found, answer(404)) as server, client(server.url) as mistral:
        assert required_tasks(mistral, "book.main") == required
        assert required_tasks(mistral, "gone") == {}
