"""Test the notifier in a real Mistral. No relay runs, unless a test starts it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.mistral_bench import Bench, new_bench
from support.parents import WORKFLOW, cancel_in_mistral, ended, run, starting, workflow_of
from support.trigger_events import TRIGGER, payloads_of
from support.waiting import eventually

from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult
from st2actions_mistral.model.links import workflow_execution_id

WAIT = "wait: {action: std.async_noop}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("notifier")
    for made in new_bench(folder, relay=False, notifier_options=f"trigger = {TRIGGER}"):

        def keep(request: RunRequest) -> RunResult:
            return RunResult(request.execution["status"], {})

        # Executions of a runner that can pause and resume may be paused and resumed.
        runner = Runner(starting(made), pause=keep, resume=lambda request: RunResult("running", {}))
        made.stackstorm.register_runner("mistral-v2", runner)
        made.stackstorm.register_action(WORKFLOW)
        yield made


def log_of_mistral(bench: Bench) -> str:
    text: str = bench.sandbox.mistral_server.log_path.read_text(encoding="utf-8")
    return text


def status_of(bench: Bench, execution_id: str) -> str:
    return str(bench.stackstorm.executions.get(execution_id)["status"])


def change_in_mistral(bench: Bench, workflow: str, state: str) -> None:
    bench.request("PUT", f"/executions/{workflow}", {"state": state})


def complete(bench: Bench, workflow: str, state: str = "SUCCESS") -> None:
    """Complete the only action of a workflow."""

    def action() -> dict[str, Any] | None:
        found = bench.look({"id": workflow}).actions
        return found[0] if found else None

    pending = eventually(action, "the action runs")
    assert bench.mistral.complete_action(pending["id"], state, {})


def events(bench: Bench, workflow: str, number: int) -> list[dict[str, Any]]:
    """Wait for so many events of a workflow, and return their payloads, the oldest first."""

    def arrived() -> list[dict[str, Any]] | None:
        own = payloads_of(bench.stackstorm, workflow)
        return own if len(own) >= number else None

    found: list[dict[str, Any]] = eventually(arrived, f"{number} events arrive")
    return found


@pytest.mark.parametrize(
    ("task", "status", "state"),
    [
        ("say: {action: std.echo, input: {output: hello}}", "succeeded", "SUCCESS"),
        ("say: {action: std.fail}", "failed", "ERROR"),
    ],
)
def test_parent_finishes_with_its_workflow(bench: Bench, task: str, status: str, state: str) -> None:
    parent = run(bench, bench.workbook(task))
    done = ended(bench, parent)
    assert (done["status"], done["result"]["state"]) == (status, state), done
    (entry,) = done["result"]["tasks"]
    assert (entry["name"], entry["state"]) == ("say", state)
    line = f"Finished: StackStorm execution {parent} {status}"
    eventually(lambda: line in log_of_mistral(bench), "the notifier logs it")


def test_parent_is_canceled_with_its_workflow(bench: Bench) -> None:
    parent = run(bench, bench.workbook(WAIT))
    cancel_in_mistral(bench, workflow_of(bench, parent))
    assert ended(bench, parent)["status"] == "canceled"


def test_parent_is_paused_and_resumed_with_its_workflow(bench: Bench) -> None:
    parent = run(bench, bench.workbook(WAIT))
    workflow = workflow_of(bench, parent)
    change_in_mistral(bench, workflow, "PAUSED")
    eventually(lambda: status_of(bench, parent) == "pausing", "its action still runs")
    complete(bench, workflow)
    assert bench.mistral.execution_state(workflow) == "PAUSED"
    # What ends below a paused workflow is no event of a workflow: this is the relay's.
    assert bench.st2.change_status(parent, "paused")
    change_in_mistral(bench, workflow, "RUNNING")
    assert ended(bench, parent)["status"] == "succeeded"


def test_workflow_that_pauses_itself_pauses_its_parent(bench: Bench) -> None:
    name = bench.workbook("first: {action: std.noop, pause-before: true}")
    parent = run(bench, name)
    eventually(lambda: status_of(bench, parent) == "paused", "nothing runs below it")
    change_in_mistral(bench, workflow_of(bench, parent), "RUNNING")
    assert ended(bench, parent)["status"] == "succeeded"


def test_sub_workflow_does_not_finish_the_parent(bench: Bench) -> None:
    name = bench.workbook(
        f"below: {{workflow: inner, on-success: [wait]}}\n{WAIT}",
        more="inner:\n  tasks:\n    noop: {action: std.noop}",
    )
    parent = run(bench, name)
    workflow = workflow_of(bench, parent)
    eventually(lambda: len(bench.mistral.tasks(workflow)) == 2, "the sub-workflow ends")
    assert status_of(bench, parent) == "running"
    (wait,) = (task for task in bench.mistral.tasks(workflow) if task["name"] == "wait")
    (action,) = bench.actions(wait["id"])
    assert bench.mistral.complete_action(action["id"], "SUCCESS", {})
    assert ended(bench, parent)["status"] == "succeeded"


def test_result_of_callback_is_kept(bench: Bench) -> None:
    call = "call: {action: st2.callback, input: {state: ERROR, result: our own}}"
    parent = run(bench, bench.workbook(call))
    assert ended(bench, parent)["result"]["output"] == "our own"
    workflow = bench.wait(workflow_of(bench, parent)).execution
    assert workflow["state"] == "SUCCESS"
    assert len(events(bench, workflow["id"], 4)) == 4
    # By then the notifier has handled the end of this workflow too.
    assert ended(bench, run(bench, bench.workbook("noop: {action: std.noop}")))
    assert status_of(bench, parent) == "failed"


def test_trigger_gets_each_event_with_the_ids_above(bench: Bench) -> None:
    name = bench.workbook(
        "below: {workflow: inner}", more="inner:\n  tasks:\n    bad: {action: std.fail}"
    )
    parent = run(bench, name)
    assert ended(bench, parent)["status"] == "failed"
    workflow = workflow_execution_id(parent)
    found = {event["event"]: event for event in events(bench, workflow, 4)}
    assert {name: (event["kind"], event["state"]) for name, event in found.items()} == {
        "WORKFLOW_LAUNCHED": ("workflow", "RUNNING"),
        "TASK_LAUNCHED": ("task", "RUNNING"),
        "TASK_FAILED": ("task", "ERROR"),
        "WORKFLOW_FAILED": ("workflow", "ERROR"),
    }
    (task,) = bench.mistral.tasks(workflow)
    assert found["TASK_FAILED"]["task_execution_id"] == task["id"]
    assert "below" in found["WORKFLOW_FAILED"]["state_info"]
    (sub,) = bench.mistral.sub_executions(task["id"])
    below = {event["event"]: event for event in events(bench, sub["id"], 4)}
    assert below["WORKFLOW_FAILED"]["task_execution_id"] == task["id"]
    for event in [*found.values(), *below.values()]:
        assert event["site"] == "mistral"
        assert event["root_execution_id"] == workflow
        assert event["parent_execution_id"] == parent
        assert event["created_at"].endswith("Z")
        assert event["project_id"] is None


def test_workflow_of_mistral_alone_reaches_the_trigger(bench: Bench) -> None:
    """Its author does nothing. Another entry of theirs does not double the events."""
    name = bench.workbook("bad: {action: std.fail}")
    body = {"workflow_name": name, "params": {"notify": [{"type": "st2", "trigger": "core.x"}]}}
    started = bench.request("POST", "/executions", body)["id"]
    bench.wait(started)
    plain = bench.start(bench.workbook("good: {action: std.noop}"))
    bench.wait(plain)
    assert "WORKFLOW_SUCCEEDED" in {event["event"] for event in events(bench, plain, 4)}
    assert len(events(bench, started, 4)) == 4
    assert {event["parent_execution_id"] for event in events(bench, started, 4)} == {None}


def test_secrets_of_a_workflow_do_not_reach_the_trigger(bench: Bench) -> None:
    name = bench.workbook(
        "say: {action: std.echo, input: {output: <% $.secret %>}, publish: {kept: <% $.secret %>}}",
        inputs="[secret]",
    )
    started = bench.start(name, {"secret": "canary-of-the-trigger"})
    bench.wait(started)
    assert len(events(bench, started, 4)) == 4
    assert "canary-of-the-trigger" not in str(bench.stackstorm.trigger_instances())
