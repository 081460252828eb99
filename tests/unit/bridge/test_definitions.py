from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    answer,
    break_in_body,
    hang_up,
    reset,
    stall,
)

from st2actions_mistral.bridge.definitions import base_of, required_tasks
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts

FAST = Timeouts(connect_timeout=0.3, read_timeout=0.3, retry_deadline=1)
ONE_TRY = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=0)
# With a sleep that does not sleep, a long deadline means: as often as it takes.
RETRYING = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=60)
COMPLETED = answer(500, {"faultstring": "Action execution is already completed"})
SILENT = stall()
LOST = [SILENT, reset(), hang_up(), break_in_body(), answer(502), answer(200, b"<html>")]


def enough_for(lost: Behaviour) -> Timeouts:
    """Timeouts that does not run out by itself, and is not tried by silence either."""
    return Timeouts(5, 0.2, 60) if lost is SILENT else RETRYING


@contextlib.contextmanager
def client(url: str, timeouts: Timeouts = RETRYING, **more: Any) -> Iterator[MistralClient]:
    def sleep(_: float) -> None:
        time.sleep(0.01)

    made = MistralClient(MistralSettings(f"{url}/v2", timeouts=timeouts), sleep=sleep, **more)
    with contextlib.closing(made):
        yield made


def action(state: str = "RUNNING", action_id: str = "a") -> dict[str, Any]:
    return {"id": action_id, "name": "st2.action", "state": state}


def ad_hoc(name: str, base: str | None) -> Behaviour:
    definition = f"{name}:\n  base: {base}\n  base-input:\n    ref: core.local" if base else None
    return answer(200, {"id": "i", "name": name, "definition": definition})


def test_the_base_of_an_action_is_followed_to_its_end() -> None:
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
def test_an_action_without_a_base_is_its_own(definition: Any) -> None:
    known = answer(200, {"id": "i", "name": "one", "definition": definition})
    with BreakingServer(known) as server, client(server.url) as mistral:
        assert base_of(mistral, "one") == "one"
    with BreakingServer(answer(404)) as server, client(server.url) as mistral:
        assert base_of(mistral, "one") == "one"


def test_a_circle_of_bases_has_an_end() -> None:
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
def test_what_tasks_require_is_read_from_the_definition(
    definition: str, required: dict[str, set[str]]
) -> None:
    found = answer(200, {"definition": definition})
    with BreakingServer(found, answer(404)) as server, client(server.url) as mistral:
        assert required_tasks(mistral, "book.main") == required
        assert required_tasks(mistral, "gone") == {}
