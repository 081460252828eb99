"""Orphaned executions are cancelled in StackStorm, and a late result is not delivered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.mistral_bench import Bench, new_bench
from support.waiting import eventually

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.model.context import MistralIds

SLEEP = "{ref: sandbox.sleep, parameters: {seconds: 60}}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield a sandbox whose relay resyncs often and logs at DEBUG."""
    folder = tmp_path_factory.mktemp("given-up")
    for bench in new_bench(folder, relay=False, relay_options="resync_interval = 0.5"):
        bench.sandbox.relay.args.append("--debug")
        bench.sandbox.relay.start()
        yield bench


def children(bench: Bench, workflow: str) -> list[dict[str, Any]]:
    """Return the executions of a workflow, the oldest first."""
    return [
        child
        for child in bench.stackstorm.executions.all()
        if child["context"].get("mistral", {}).get("workflow_execution_id") == workflow
    ]


def running(bench: Bench, workflow: str, number: int = 1) -> list[dict[str, Any]]:
    """Wait until that many executions run, and return them."""

    def all_run() -> list[dict[str, Any]] | None:
        found = children(bench, workflow)
        return found if [child["status"] for child in found] == ["running"] * number else None

    found: list[dict[str, Any]] = eventually(all_run, f"{number} executions run")
    return found


def action_of(child: dict[str, Any]) -> str:
    return str(child["context"]["mistral"]["action_execution_id"])


def is_closed(bench: Bench, child: dict[str, Any]) -> bool:
    return bench.action_state(action_of(child)) == "CANCELLED"


def test_cancelled_workflow_cancels_its_execution(bench: Bench) -> None:
    workflow = bench.start(bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = running(bench, workflow)
    bench.request("PUT", f"/executions/{workflow}", {"state": "CANCELLED"})
    assert bench.stackstorm.executions.wait(child["id"])["status"] == "canceled"
    eventually(lambda: is_closed(bench, child), "the action is closed")
    run = bench.wait(workflow)
    assert run.execution["state"] == "CANCELLED"
    assert run.tasks["sleep"]["state"] == "CANCELLED"


def test_cancelled_workflow_with_items_cancels_all_executions(bench: Bench) -> None:
    workflow = bench.start(
        bench.workbook(f"sleep: {{with-items: 'i in [1, 2, 3]', action: st2.action, input: {SLEEP}}}")
    )
    found = running(bench, workflow, 3)
    bench.request("PUT", f"/executions/{workflow}", {"state": "CANCELLED"})
    for child in found:
        assert bench.stackstorm.executions.wait(child["id"])["status"] == "canceled"
        eventually(lambda child=child: is_closed(bench, child), "the action is closed")


def test_timed_out_task_cancels_its_execution(bench: Bench) -> None:
    workflow = bench.start(bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}, timeout: 2}}"))
    (child,) = running(bench, workflow)
    assert bench.stackstorm.executions.wait(child["id"])["status"] == "canceled"
    eventually(lambda: is_closed(bench, child), "the action is closed")
    run = bench.wait(workflow)
    assert (run.execution["state"], run.tasks["sleep"]["state"]) == ("ERROR", "ERROR")


RETRIED = """
try:
  action: st2.action
  input:
    ref: core.local
    parameters:
      cmd: if test -e {mark}; then sleep 5; echo second; else touch {mark}; {first}; echo first; fi
  timeout: 2
  retry: {{count: 1, delay: 1}}
"""


def test_retried_task_cancels_the_execution_of_the_first_attempt(bench: Bench, tmp_path: Path) -> None:
    tasks = RETRIED.format(mark=tmp_path / "mark", first="sleep 60")
    workflow = bench.start(bench.workbook(tasks))
    (first,) = running(bench, workflow)
    assert bench.stackstorm.executions.wait(first["id"])["status"] == "canceled"
    run = bench.wait(workflow)
    assert run.execution["state"] == "SUCCESS"
    assert run.actions[-1]["output"]["result"]["stdout"] == "second"
    # The relay closes it only when the task is final, so that closing it starts nothing.
    eventually(lambda: is_closed(bench, first), "the first attempt's action is closed")
    assert bench.mistral.tasks(workflow)[0]["state"] == "SUCCESS"


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Bench]:
    """Yield a sandbox that does not cancel orphaned executions."""
    options = "resync_interval = 0.5\ncancel_orphans = false"
    yield from new_bench(tmp_path / "sandbox", relay_options=options)


def test_late_result_of_an_old_attempt_does_not_complete_the_task(
    keeping: Bench, tmp_path: Path
) -> None:
    # The execution of the first attempt finishes while the second one runs.
    tasks = RETRIED.format(mark=tmp_path / "mark", first="sleep 4")
    workflow = keeping.start(keeping.workbook(tasks))
    run = keeping.wait(workflow)
    first, second = children(keeping, workflow)
    assert first["result"]["stdout"] == "first"
    assert run.actions[-1]["output"]["result"]["st2"]["execution_id"] == second["id"]
    assert run.actions[-1]["output"]["result"]["stdout"] == "second"
    assert first["end_timestamp"] < second["end_timestamp"]
    # It is delivered once the task is final, and changes nothing.
    eventually(lambda: keeping.action_state(action_of(first)) == "SUCCESS", "the result is delivered")
    assert keeping.wait(workflow).execution["state"] == "SUCCESS"


def test_deleted_workflow_cancels_its_execution(bench: Bench) -> None:
    workflow = bench.start(bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = running(bench, workflow)
    # The relay must have seen the action: an unknown one may belong to another Mistral.
    eventually(lambda: bench.action_state(action_of(child)) == "RUNNING", "the action runs")
    resyncs = bench.sandbox.relay.log_path.read_text().count(" actions are pending (")

    def seen() -> bool:
        # A resync may have been running already.
        done = bench.sandbox.relay.log_path.read_text().count(" actions are pending (")
        return done >= resyncs + 2

    eventually(seen, "the relay has resynced")
    requests.delete(
        f"{bench.mistral_url}/executions/{workflow}?force=true", timeout=30
    ).raise_for_status()
    assert bench.mistral.get_action(action_of(child)) is None
    assert bench.stackstorm.executions.wait(child["id"])["status"] == "canceled"


def test_cancelled_execution_cancels_its_workflow(bench: Bench) -> None:
    workflow = bench.start(bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = running(bench, workflow)
    assert bench.st2.cancel(child["id"])
    run = bench.wait(workflow)
    assert run.tasks["sleep"]["state"] == "CANCELLED"
    assert run.execution["state"] == "CANCELLED"


def test_execution_of_another_mistral_with_the_same_site_is_not_cancelled(bench: Bench) -> None:
    # Using a site twice is a mistake, but no reason to cancel executions.
    foreign = schedule(
        bench.st2,
        ExecutionRequest(
            "sandbox.sleep",
            {"seconds": 5},
            MistralIds("mistral", action_execution_id="4b4f5be9-0000-0000-0000-000000000000"),
        ),
    )
    done = bench.stackstorm.executions.wait(foreign["id"])
    assert done["status"] == "succeeded"


def test_stopped_relay_cancels_nothing(bench: Bench) -> None:
    workflow = bench.start(
        bench.workbook(
            "sleep: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 5}}}"
        )
    )
    running(bench, workflow)
    bench.sandbox.relay.stop()
    bench.sandbox.relay.start()
    assert bench.wait(workflow).execution["state"] == "SUCCESS"
