"""The notifier as a process of Mistral's, which a broker connects with the engine."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from support.cluster.mistral_cluster import Cluster
from support.mistral_bench import Bench
from support.parents import WORKFLOW, ended, starting
from support.trigger_events import payloads_of
from support.waiting import eventually

from st2actions_mistral.model.links import workflow_execution_id

# The first test of a version creates its virtualenv.
pytestmark = pytest.mark.timeout(900)

ACTION = {**WORKFLOW, "name": "notified", "runner_type": "tests-workflow"}


@pytest.fixture(autouse=True)
def _runner(cluster: Cluster, bench: Bench) -> None:
    # Not in the place of mistral-v2, which other tests use.
    cluster.stackstorm.register_runner("tests-workflow", starting(bench))
    cluster.stackstorm.register_action(ACTION)


def run(bench: Bench, tasks: str = "say: {action: std.echo, input: {output: hello}}") -> str:
    """Run a workflow that needs no relay, and return the id of its parent."""
    parameters = {"workflow": bench.workbook(tasks)}
    return str(bench.st2.create_execution("tests.notified", parameters)["id"])


def events(bench: Bench, parent: str) -> list[str]:
    """Return the events of a parent's workflow, the oldest first."""
    return [p["event"] for p in payloads_of(bench.stackstorm, workflow_execution_id(parent))]


def said(process: Any, parent: str) -> bool:
    return f"Finished: StackStorm execution {parent}" in process.log


def check_said(process: Any, parent: str) -> None:
    eventually(lambda: said(process, parent), "it logs that it has finished the parent", 30)


def test_process_of_the_notifier_finishes_parents(cluster: Cluster, bench: Bench) -> None:
    cluster.relay.stop()
    try:
        parents = [run(bench) for _ in range(5)]
        # std.fail would leave a traceback in the log of an executor.
        failed = run(bench, "say: {action: std.noop, fail-on: '<% true %>'}")
        for parent in parents:
            done = ended(bench, parent, timeout=60)
            assert (done["status"], done["result"]["state"]) == ("succeeded", "SUCCESS")
            assert done["result"]["tasks"][0]["result"] == "hello"
            check_said(cluster.processes["notifier"], parent)
        assert ended(bench, failed, timeout=60)["status"] == "failed"
    finally:
        cluster.relay.start()
    for process in ("engine", "api"):
        assert "Finished:" not in cluster.processes[process].log


def test_trigger_gets_each_event_once(bench: Bench) -> None:
    parent = run(bench)
    assert ended(bench, parent, timeout=60)
    expected = ["TASK_LAUNCHED", "TASK_SUCCEEDED", "WORKFLOW_LAUNCHED", "WORKFLOW_SUCCEEDED"]
    eventually(lambda: len(events(bench, parent)) >= 4, "all events arrive")
    # The broker hands them to several threads.
    assert sorted(events(bench, parent)) == expected


def test_late_event_changes_nothing_that_the_relay_has_done(cluster: Cluster, bench: Bench) -> None:
    notifier = cluster.processes["notifier"]
    assert notifier.pid is not None
    os.killpg(notifier.pid, signal.SIGSTOP)
    try:
        parent = run(bench)
        done = ended(bench, parent, timeout=60)
        assert done["status"] == "succeeded"
        check_said(cluster.relay, parent)
    finally:
        os.killpg(notifier.pid, signal.SIGCONT)
    eventually(lambda: "WORKFLOW_SUCCEEDED" in events(bench, parent), "the late event arrives")
    after = run(bench)
    assert ended(bench, after, timeout=60)
    assert not said(notifier, parent)
    assert bench.stackstorm.executions.get(parent)["end_timestamp"] == done["end_timestamp"]


def test_relay_finishes_what_a_killed_notifier_had(cluster: Cluster, bench: Bench) -> None:
    notifier = cluster.processes["notifier"]
    notifier.kill()
    try:
        parent = run(bench)
        assert ended(bench, parent, timeout=60)["status"] == "succeeded"
        check_said(cluster.relay, parent)
    finally:
        notifier.start()
        notifier.wait_until(lambda: notifier.has_logged("server started."), 120)
    cluster.relay.stop()
    try:
        assert ended(bench, run(bench), timeout=60)["status"] == "succeeded"
    finally:
        cluster.relay.start()
