"""Test what only a resync tells the relay of parents and their workflows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests
from support.mistral_bench import Bench, environment, new_bench
from support.parents import (
    HELLO,
    SLEEP,
    WORKFLOW,
    cancel_in_mistral,
    children,
    ended,
    log,
    nested,
    run,
    starting,
    workflow_of,
)
from support.resync_watch import ResyncWatch

from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult
from st2actions_mistral.model.links import WorkflowRef, workflow_execution_id

LOST_AFTER = 2


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, ResyncWatch]]:
    """Start a sandbox that often resyncs, without the notifier."""
    options = f"resync_interval = 0.5\nreschedule_after = 0\nlost_after = {LOST_AFTER}"
    folder = tmp_path_factory.mktemp("resyncs")
    for made in new_bench(folder, relay=False, relay_options=options, notifier=False):
        made.stackstorm.register_action(WORKFLOW)
        with ResyncWatch(made.sandbox) as resyncs:
            yield made, resyncs


@pytest.fixture
def bench(watched: tuple[Bench, ResyncWatch]) -> Bench:
    """Return the sandbox, with its own runner and a running relay."""
    made, _ = watched
    if made.sandbox.relay.poll() is not None:
        made.sandbox.start_relay()
    made.stackstorm.register_runner("mistral-v2", Runner(starting(made)))
    return made


@pytest.fixture
def resyncs(watched: tuple[Bench, ResyncWatch]) -> ResyncWatch:
    return watched[1]


def test_result_of_callback_is_kept(bench: Bench, resyncs: ResyncWatch) -> None:
    tasks = f"""
    hello: {{action: st2.action, input: {HELLO}, on-success: [call]}}
    call: {{action: st2.callback, input: {{state: ERROR, result: our own}}}}
    """
    parent = run(bench, bench.workbook(tasks))
    done = ended(bench, parent)
    assert (done["status"], done["result"]["output"]) == ("failed", "our own")
    bench.wait(workflow_of(bench, parent))
    resyncs.wait_for_resync()
    assert bench.stackstorm.executions.get(parent)["result"] == done["result"]
    assert f"Finished: StackStorm execution {parent}" not in log(bench)


def test_parent_is_canceled_with_its_workflow(bench: Bench) -> None:
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = children(bench, parent)
    cancel_in_mistral(bench, workflow_of(bench, parent))
    assert ended(bench, child["id"])["status"] == "canceled"
    assert ended(bench, parent)["status"] == "canceled"


def test_cancel_of_inner_workflow_reaches_everything(bench: Bench) -> None:
    outer, middle, child = nested(bench)
    cancel_in_mistral(bench, workflow_of(bench, middle))
    for execution in (child, middle, outer):
        assert ended(bench, execution)["status"] == "canceled"
    done = bench.wait(workflow_of(bench, outer))
    assert done.tasks["call"]["state"] == "CANCELLED"
    assert bench.mistral.execution_state(workflow_of(bench, middle)) == "CANCELLED"


def test_parent_of_deleted_workflow_fails(bench: Bench) -> None:
    parent = run(bench, bench.workbook("wait: {action: std.async_noop}"))
    other = run(bench, bench.workbook("wait: {action: std.async_noop}"))
    for id_ in (parent, other):
        workflow = workflow_of(bench, id_)
        url = f"{bench.mistral_url}/executions/{workflow}?force=true"
        requests.delete(url, timeout=30).raise_for_status()
    begun = time.monotonic()
    assert bench.st2.cancel(other)
    done = ended(bench, parent)
    assert done["status"] == "failed"
    assert "does not know the workflow execution" in done["result"]["mistral"]["state_info"]
    assert time.monotonic() - begun > 1
    assert ended(bench, other)["status"] == "canceled"


def test_relay_catches_up_after_it_was_stopped(bench: Bench) -> None:
    bench.sandbox.relay.stop()
    done = run(bench, bench.workbook("noop: {action: std.noop}"))
    cancelled = run(bench, bench.workbook("wait: {action: std.async_noop}"))
    bench.wait(workflow_of(bench, done))
    workflow = workflow_of(bench, cancelled)
    assert bench.st2.cancel(cancelled)
    assert ended(bench, cancelled)["status"] == "canceled"
    assert bench.stackstorm.executions.get(done)["status"] == "running"
    assert bench.mistral.execution_state(workflow) == "RUNNING"
    bench.sandbox.relay.start()
    assert ended(bench, done)["status"] == "succeeded"
    assert bench.wait(workflow).execution["state"] == "CANCELLED"


def test_cancel_of_parent_waits_for_stopped_mistral(bench: Bench, resyncs: ResyncWatch) -> None:
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = children(bench, parent)
    workflow = workflow_of(bench, parent)
    bench.sandbox.mistral_server.stop()
    assert bench.st2.cancel(parent)
    # lost_after does not count while Mistral does not respond.
    time.sleep(LOST_AFTER)
    resyncs.wait_for_resync()
    assert bench.stackstorm.executions.get(child["id"])["status"] == "running"
    bench.sandbox.mistral_server.start()
    assert bench.wait(workflow).execution["state"] == "CANCELLED"
    assert ended(bench, child["id"])["status"] == "canceled"


def test_canceling_parent_is_canceled_by_the_relay(bench: Bench) -> None:
    bench.stackstorm.register_runner(
        "mistral-v2", Runner(starting(bench), cancel=lambda request: RunResult("canceling", {"a": 1}))
    )
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    children(bench, parent)
    assert bench.st2.cancel(parent)
    done = ended(bench, parent)
    assert done["status"] == "canceled"
    # Only here StackStorm stores the relay's result.
    assert done["result"]["state"] == "CANCELLED"


def test_workflow_with_unknown_start_is_cancelled(bench: Bench) -> None:
    """The runner did not get Mistral's answer, and its result says so."""
    start = starting(bench)

    def run_and_lose(request: RunRequest) -> RunResult:
        assert start(request).status == "running"
        return RunResult("failed", {"error": "x", "mistral": {"start": "unknown"}})

    bench.stackstorm.register_runner("mistral-v2", Runner(run_and_lose))
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    assert ended(bench, parent)["status"] == "failed"
    assert bench.wait(workflow_execution_id(parent)).execution["state"] == "CANCELLED"


def test_rerun_workflow_reports_to_its_new_parent(bench: Bench) -> None:
    """Its old parent is canceled, which must not cancel the workflow."""
    name = bench.workbook(
        """
        first: {action: std.noop, fail-on: "<% not env().get(go, false) %>", on-success: [then]}
        then: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 4}}}
        """
    )
    # So that the old parent does not learn of the failure.
    bench.sandbox.relay.stop()
    old = run(bench, name)
    workflow = workflow_of(bench, old)
    assert bench.wait(workflow).execution["state"] == "ERROR"
    assert bench.st2.cancel(old)
    assert ended(bench, old)["status"] == "canceled"

    def run_again(request: RunRequest) -> RunResult:
        env = environment(request.api_url, request.execution)
        (task,) = bench.mistral.tasks(workflow)
        bench.mistral.rerun_task(task["id"], reset=True, env={**env, "go": True})
        return RunResult("running", {"a": 1}, WorkflowRef("mistral", workflow, name).as_context({}))

    bench.stackstorm.register_runner("mistral-v2", Runner(run_again))
    new = run(bench, name)
    children(bench, new)
    bench.sandbox.relay.start()
    done = ended(bench, new)
    assert done["status"] == "succeeded", done
    assert done["result"]["mistral"]["workflow_execution_id"] == workflow
    assert [task["state"] for task in done["result"]["tasks"]] == ["SUCCESS", "SUCCESS"]


def test_execution_that_only_claims_a_workflow_does_not_count(
    bench: Bench, resyncs: ResyncWatch
) -> None:
    """It gets no output, cancels nothing, and keeps nothing running."""
    victim = run(bench, bench.workbook("wait: {action: std.async_noop}"))
    workflow = workflow_of(bench, victim)

    def claim(request: RunRequest) -> RunResult:
        return RunResult("running", {"a": 1}, WorkflowRef("mistral", workflow, "x").as_context({}))

    bench.stackstorm.register_runner("mistral-v2", Runner(claim))
    claimant, other = run(bench, "x"), run(bench, "x")
    assert workflow_of(bench, claimant) == workflow_of(bench, other) == workflow
    assert bench.st2.cancel(claimant)
    resyncs.wait_for_resync()
    assert bench.mistral.execution_state(workflow) == "RUNNING"
    # The runner does not cancel it.
    assert bench.st2.cancel(victim)
    assert bench.wait(workflow).execution["state"] == "CANCELLED"
    assert ended(bench, victim)["status"] == "canceled"
    resyncs.wait_for_resync()
    assert bench.stackstorm.executions.get(other)["status"] == "running"
