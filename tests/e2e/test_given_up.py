"""What Mistral gave up is cancelled in StackStorm, and a late result does no harm."""

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
    """A sandbox whose relay compares often, and says what it saw."""
    folder = tmp_path_factory.mktemp("given-up")
    for bench in new_bench(folder, relay=False, relay_options="resync_interval = 0.5"):
        bench.sandbox.relay.args.append("--debug")
        bench.sandbox.relay.start()
        yield bench


def children(bench: Bench, workflow: str) -> list[dict[str, Any]]:
    """The children of a workflow, the oldest first."""
    return [
        child
        for child in bench.stackstorm.executions.all()
        if child["context"].get("mistral", {}).get("workflow_execution_id") == workflow
    ]


def running(bench: Bench, workflow: str, number: int = 1) -> list[dict[str, Any]]:
    """Wait until that many children run."""

    def all_run() -> list[dict[str, Any]] | None:
        found = children(bench, workflow)
        return found if [child["status"] for child in found] == ["running"] * number else None

    found: list[dict[str, Any]] = eventually(all_run, f"{number} children run")
    return found


def action_of(child: dict[str, Any]) -> str:
    return str(child["context"]["mistral"]["action_execution_id"])


def is_closed(bench: Bench, child: dict[str, Any]) -> bool:
    return bench.action_state(action_of(child)) == "CANCELLED"


def test_a_workflow_is_cancelled(bench: Bench) -> None:
    workflow = bench.start(bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = running(bench, workflow)
    bench.request("PUT", f"/executions/{workflow}", {"state": "CANCELLED"})
    assert bench.stackstorm.executions.wait(child["id"])["status"] == "canceled"
    eventually(lambda: is_closed(bench, child), "the action is closed")
    run = bench.wait(workflow)
    assert run.execution["state"] == "CANCELLED"
    assert run.tasks["sleep"]["state"] == "CANCELLED"


def test_a_workflow_with_items_is_cancelled(bench: Bench) -> None:
    workflow = bench.start(
        bench.workbook(f"sleep: {{with-items: 'i in [1, 2, 3]', action: st2.action, input: {SLEEP}}}")
    )
    found = running(bench, workflow, 3)
    bench.request("PUT", f"/executions/{workflow}", {"state": "CANCELLED"})
    for child in found:
        assert bench.stackstorm.executions.wait(child["id"])["status"] == "canceled"
        eventually(lambda child=child: is_closed(bench, child), "the action is closed")


def test_a_task_times_out(bench: Bench) -> None:
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


def test_a_task_is_tried_again(bench: Bench, tmp_path: Path) -> None:
    """The first attempt's child is cancelled, and the task gets the result of the second one."""
    tasks = RETRIED.format(mark=tmp_path / "mark", first="sleep 60")
    workflow = bench.start(bench.workbook(tasks))
    (first,) = running(bench, workflow)
    assert bench.stackstorm.executions.wait(first["id"])["status"] == "canceled"
    run = bench.wait(workflow)
    assert run.execution["state"] == "SUCCESS"
    assert run.actions[-1]["output"]["result"]["stdout"] == "second"
    # Only now does it start nothing.
    eventually(lambda: is_closed(bench, first), "the first attempt's action is closed")
    assert bench.mistral.tasks(workflow)[0]["state"] == "SUCCESS"


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Bench]:
    """A sandbox that cancels no child."""
    options = "resync_interval = 0.5\ncancel_orphans = false"
    yield from new_bench(tmp_path / "sandbox", relay_options=options)


def test_a_late_result_is_not_the_newer_attempts(keeping: Bench, tmp_path: Path) -> None:
    """The first attempt's child ends while the second one is at work."""
    tasks = RETRIED.format(mark=tmp_path / "mark", first="sleep 4")
    workflow = keeping.start(keeping.workbook(tasks))
    run = keeping.wait(workflow)
    first, second = children(keeping, workflow)
    assert first["result"]["stdout"] == "first"
    assert run.actions[-1]["output"]["result"]["st2"]["execution_id"] == second["id"]
    assert run.actions[-1]["output"]["result"]["stdout"] == "second"
    assert first["end_timestamp"] < second["end_timestamp"]
    # It is delivered once the task has ended, and changes nothing.
    eventually(lambda: keeping.action_state(action_of(first)) == "SUCCESS", "it is delivered")
    assert keeping.wait(workflow).execution["state"] == "SUCCESS"


def test_a_workflow_is_deleted(bench: Bench) -> None:
    workflow = bench.start(bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = running(bench, workflow)
    # The relay must have seen it: what it never saw may be another Mistral's.
    eventually(lambda: bench.action_state(action_of(child)) == "RUNNING", "the action runs")
    comparisons = bench.sandbox.relay.log_path.read_text().count(" actions wait (")

    def seen() -> bool:
        # One may have been under way.
        done = bench.sandbox.relay.log_path.read_text().count(" actions wait (")
        return done >= comparisons + 2

    eventually(seen, "the relay has compared")
    requests.delete(
        f"{bench.mistral_url}/executions/{workflow}?force=true", timeout=30
    ).raise_for_status()
    assert bench.mistral.get_action(action_of(child)) is None
    assert bench.stackstorm.executions.wait(child["id"])["status"] == "canceled"


def test_a_child_is_cancelled(bench: Bench) -> None:
    workflow = bench.start(bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = running(bench, workflow)
    assert bench.st2.cancel(child["id"])
    run = bench.wait(workflow)
    assert run.tasks["sleep"]["state"] == "CANCELLED"
    assert run.execution["state"] == "CANCELLED"


def test_what_another_mistral_of_the_same_site_runs_is_left_alone(bench: Bench) -> None:
    """A site that is used twice is a mistake, and no reason to cancel what runs."""
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


def test_a_relay_that_ends_cancels_nothing(bench: Bench) -> None:
    workflow = bench.start(
        bench.workbook(
            "sleep: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 5}}}"
        )
    )
    running(bench, workflow)
    bench.sandbox.relay.stop()
    bench.sandbox.relay.start()
    assert bench.wait(workflow).execution["state"] == "SUCCESS"
