"""Actions that were lost before they reached StackStorm, or whose child has gone from there."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from bench import Bench, eventually, new_bench

MANY = 120

EACH = f"""
each:
  with-items: i in <% range({MANY}) %>
  action: st2.action
  input: {{ref: sandbox.echo, parameters: {{value: <% $.i %>}}}}
"""

# Every action that begins is late at once, so that it looks first; a child that cannot be made is given
# up soon.
OPTIONS = "reconcile_interval = 0.5\nadopt_after = 3\nlost_after = 6"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A sandbox that soon sees what is lost."""
    yield from new_bench(tmp_path_factory.mktemp("lost"), relay_options=OPTIONS)


def children(bench: Bench, workflow: str) -> list[dict[str, Any]]:
    return [
        child
        for child in bench.stackstorm.executions.all()
        if child["context"].get("mistral", {}).get("workflow_execution_id") == workflow
    ]


def lose(bench: Bench, tasks: str, **parent: Any) -> str:
    """Start a workflow whose first task no executor gets: Mistral dies with it in its queue."""
    server = bench.sandbox.mistral_server
    workflow = bench.workbook(tasks)
    assert server.pid is not None
    # Stopped in the middle of what it does next.
    id_ = bench.start(workflow, **parent)
    return id_


def kill_mistral(bench: Bench) -> None:
    server = bench.sandbox.mistral_server
    assert server.pid is not None
    os.killpg(server.pid, signal.SIGKILL)
    server.stop()


def test_what_an_executor_lost_is_scheduled_after_all(bench: Bench) -> None:
    """Mistral is killed while it hands out many actions: some have run, some run, some never began."""
    workflow = bench.start(bench.workbook(EACH))
    eventually(lambda: len(children(bench, workflow)) > MANY // 6, "some are scheduled")
    kill_mistral(bench)
    before = len(children(bench, workflow))
    assert before < MANY
    bench.sandbox.mistral_server.start()
    run = bench.wait(workflow, timeout=120)
    assert run.execution["state"] == "SUCCESS"
    results = [action["output"]["result"] for action in run.actions]
    assert sorted(result["result"]["value"] for result in results) == list(range(MANY))
    assert len(children(bench, workflow)) == MANY
    adopted = [line for line in bench.sandbox.relay.tail(100_000) if " Adopted: " in line]
    assert len(adopted) >= (MANY - before) // 2
