"""Workflows in a Mistral whose services are processes of their own."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import date
from typing import Any

import pytest
from support.cluster.mistral_cluster import EXECUTORS, NO_DATABASE, WITHOUT_DATABASE, Cluster
from support.mistral_bench import Bench, Run
from support.waiting import eventually

from st2_mistral_sandbox import example_run, examples
from st2_mistral_sandbox.stackstorm.store import ExecutionStore

# The first test of a version builds its virtualenv.
pytestmark = pytest.mark.timeout(900)

TIMEOUT = 300.0
MANY = 200

SCHEDULED = "runs for action execution"

EXAMPLES: dict[str, dict[str, Any]] = {
    "error-handling": {},
    "join": {},
    "mistral-basic": {"cmd": "date +%F"},
    "mongodb-rolling-upgrade": {"duration": 2},
    "retry": {"seconds": 2},
    "sub-workflow": {},
    "with-items": {"names": ["Ada", "Grace"]},
    "without-callback": {"person": "Ada"},
}


class Silent:
    def step(self, text: str) -> None:
        pass

    def execution(self, ref: str, status: str) -> None:
        pass


def test_each_example_is_among_them() -> None:
    assert {ref.removeprefix("examples.") for ref in examples.load()} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(cluster: Cluster, name: str) -> None:
    outcome = example_run.run_in(
        cluster,  # type: ignore[arg-type]
        examples.find(name),
        EXAMPLES[name],
        timeout=TIMEOUT,
        progress=Silent(),
    )
    assert outcome.parent["status"] == "succeeded", outcome.parent["result"]
    assert outcome.children
    assert outcome.parent["result"]["mistral"]["workflow_name"] == f"examples.{name}.main"
    expected = {
        "mistral-basic": date.today().isoformat(),
        "mongodb-rolling-upgrade": "Replica set upgraded. Promoted mongo2 to primary.",
        "with-items": ["Hello, Ada!", "Hello, Grace!"],
    }
    if name in expected:
        assert outcome.parent["result"]["output"] == expected[name]


def test_many_children_spread_over_both_executors(cluster: Cluster, bench: Bench) -> None:
    workflow = bench.workbook(
        f"""
        each:
          with-items: i in <% range({MANY}) %>
          action: st2.action
          input: {{ref: sandbox.echo, parameters: {{value: <% $.i %>}}}}
        """
    )
    begun = time.monotonic()
    run = bench.wait(bench.start(workflow), TIMEOUT)
    print(f"Mistral {cluster.version}: {MANY} children in {time.monotonic() - begun:.1f} s")
    assert run.execution["state"] == "SUCCESS"
    values = [action["output"]["result"]["result"]["value"] for action in run.actions]
    assert sorted(values) == list(range(MANY))

    ours = {action["id"] for action in run.actions}
    assert len(ours) == MANY
    assert Counter(
        child["context"]["mistral"]["action_execution_id"] for child in children(bench, run)
    ) == (dict.fromkeys(ours, 1))
    first, second = (ours & cluster.ran(executor, "St2Action") for executor in EXECUTORS)
    print(f"Mistral {cluster.version}: {len(first)} on one executor, {len(second)} on the other")
    assert first | second == ours
    assert not first & second
    assert len(first) > MANY // 10
    assert len(second) > MANY // 10
    for executor in cluster.executors:
        assert executor.log.count(SCHEDULED) > MANY // 10


def test_only_executors_run_actions(cluster: Cluster, bench: Bench) -> None:
    run = bench.run(bench.workbook("say: {action: st2.action, input: {ref: core.noop}}"))
    action_id = run.actions[0]["id"]
    said = [executor for executor in cluster.executors if f"{SCHEDULED} {action_id}" in executor.log]
    assert len(said) == 1
    for service in ("api", "engine", "notifier"):
        assert SCHEDULED not in cluster.processes[service].log


def test_an_executor_without_database_does_its_part(cluster: Cluster, bench: Bench) -> None:
    # Mistral drops the attribute "target" of a task on its way to a remote executor, so that one
    # cannot be chosen; of several actions each gets some.
    parent = bench.parent()
    workflow = bench.workbook(
        """
        say:
          with-items: i in <% range(20) %>
          action: st2.action
          input: {ref: core.local, parameters: {cmd: "echo <% $.i %>"}}
          on-success: tell
        tell:
          with-items: i in <% range(20) %>
          action: st2.callback
          input: {state: SUCCESS, result: here}
        """
    )
    run = bench.run(workflow, parent=parent)
    assert run.execution["state"] == "SUCCESS", run.actions
    assert NO_DATABASE in (cluster.folder / f"{WITHOUT_DATABASE}.conf").read_text(encoding="utf-8")
    actions = {action["id"]: action for action in run.actions}
    for kind in ("St2Action", "St2Callback"):
        there = cluster.ran(WITHOUT_DATABASE, kind) & actions.keys()
        assert there
        assert {actions[action_id]["state"] for action_id in there} == {"SUCCESS"}
    told = bench.st2.get_execution(parent["id"])
    assert told is not None
    assert (told["status"], told["result"]["output"]) == ("succeeded", "here")


@pytest.mark.parametrize(("state", "status"), [("SUCCESS", "succeeded"), ("ERROR", "failed")])
def test_the_parent_is_told(cluster: Cluster, bench: Bench, state: str, status: str) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        f"tell: {{action: st2.callback, input: {{state: {state}, result: <% $.result %>}}}}",
        inputs="[result]",
    )
    run = bench.run(workflow, {"result": {"a": [1, None, "{{ x }}"]}}, parent=parent)
    assert run.result("tell") == {"execution_id": parent["id"], "status": status}
    told = bench.st2.get_execution(parent["id"])
    assert told is not None
    assert told["status"] == status
    assert told["result"]["output"] == {"a": [1, None, "{{ x }}"]}
    ran = [run.actions[0]["id"] in cluster.ran(executor, "St2Callback") for executor in EXECUTORS]
    assert sorted(ran) == [False, True]


def test_an_unknown_action_is_the_tasks_error(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        no-such:
          action: st2.action
          input: {ref: core.nope}
          on-error: look
        look:
          action: std.echo output=<% task('no-such').result %>
        """
    )
    run = bench.run(workflow)
    assert run.tasks["no-such"]["state"] == "ERROR"
    result = run.result("look")
    assert (result["status"], result["ref"]) == (400, "core.nope")
    assert "core.nope" in result["message"]


def test_ad_hoc(bench: Bench) -> None:
    action = bench.request(
        "POST",
        "/action_executions",
        {"name": "st2.action", "input": {"ref": "core.local", "parameters": {"cmd": "echo hi"}}},
    )
    eventually(lambda: bench.action_state(action["id"]) == "SUCCESS", "the ad-hoc action ends")
    done = bench.mistral.get_action(action["id"])
    assert done is not None
    output = done["output"]
    output = output if isinstance(output, dict) else json.loads(output)
    assert output["result"]["stdout"] == "hi"


SHELL = """
    actions:
      shell:
        base: st2.action
        base-input: {ref: "core.<% $.name %>", parameters: {cmd: echo based}}
        input: [name]
    """


def test_an_action_that_is_based_on_it(bench: Bench) -> None:
    run = bench.run(bench.workbook("say: {action: shell, input: {name: local}}", extra=SHELL))
    assert run.execution["state"] == "SUCCESS"
    assert run.result("say")["stdout"] == "based"


def test_an_action_that_is_based_on_it_tells_its_errors(bench: Bench) -> None:
    run = bench.run(bench.workbook("say: {action: shell, input: {name: nope}}", extra=SHELL))
    assert run.tasks["say"]["state"] == "ERROR"
    assert run.result("say")["status"] == 400


def test_a_sub_workflow_with_the_environment_handed_on(bench: Bench) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        """
        below:
          workflow: inner
          input: {env: <% env() %>, evaluate_env: false}
        """,
        more="""
        inner:
          tasks:
            theirs:
              action: st2.action
              input: {ref: core.noop}
        """,
    )
    run = bench.run(workflow, parent=parent)
    assert run.execution["state"] == "SUCCESS"
    (child,) = bench.st2.children(parent["id"])
    assert child["context"]["mistral"]["workflow_name"] == workflow.replace(".main", ".inner")


def test_a_huge_result_is_cut(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        huge:
          action: st2.action
          input:
            ref: core.local
            parameters: {cmd: "head -c 3000000 /dev/zero | tr '\\\\0' x; exit 4"}
          on-error: look
        look:
          action: std.echo output=<% task(huge).result %>
        """
    )
    run = bench.run(workflow)
    assert run.tasks["huge"]["state"] == "ERROR"
    result = run.result("look")
    assert result["return_code"] == 4
    assert result["stdout"].endswith("(3000000 bytes, truncated)")
    assert result["st2"]["truncated"]["limit_kb"] == 1024


def test_the_relay_catches_up(cluster: Cluster, bench: Bench) -> None:
    cluster.relay.stop()
    try:
        started = bench.start(bench.workbook("say: {action: st2.action, input: {ref: core.noop}}"))
        child = eventually(lambda: children(bench, started), "the child is made")[0]
        bench.stackstorm.executions.wait(child["id"])
        time.sleep(1)
        execution = bench.mistral.get_execution(started)
        assert execution is not None
        assert execution["state"] == "RUNNING"
    finally:
        cluster.relay.start()
    assert bench.wait(started).execution["state"] == "SUCCESS"


def test_who_waits_for_stackstorm_holds_up_nobody(cluster: Cluster, bench: Bench) -> None:
    # Each of these tries for retry_deadline, 5 s; on 20 in green threads, that must let others run.
    waiting = bench.workbook(
        """
        each:
          with-items: i in <% range(40) %>
          action: st2.action
          input: {ref: core.noop, st2_context: {api_url: <% $.nowhere %>}}
        """,
        inputs="[nowhere]",
    )
    quick = bench.workbook("say: {action: st2.action, input: {ref: core.noop}}")
    slow = bench.start(waiting, {"nowhere": cluster.nowhere})

    def begun() -> bool:
        ours = {action["id"] for action in bench.look({"id": slow}).actions}
        taken = set().union(*(cluster.ran(executor, "St2Action") for executor in EXECUTORS))
        return len(ours & taken) >= 20

    eventually(begun, "many wait")
    run = bench.run(quick)
    assert run.execution["state"] == "SUCCESS"
    behind = bench.look({"id": slow})
    assert "RUNNING" in {action["state"] for action in behind.actions}
    ended = bench.wait(slow, TIMEOUT)
    assert ended.execution["state"] == "ERROR"
    assert {action["state"] for action in ended.actions} == {"ERROR"}
    assert all("no connection" in action["output"]["result"]["error"] for action in ended.actions)


def test_what_a_killed_executor_lost_is_run_after_all(
    cluster: Cluster, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistral never hands it out again; the relay schedules it from Mistral's own record."""
    add, killed, first = ExecutionStore.add, threading.Event(), threading.Semaphore(8)

    def held(self: ExecutionStore, *given: Any, **more: Any) -> Any:
        # An executor sends 64 at once. What it has beyond that waits in its memory, and is lost. Not
        # for long: an executor that hears nothing for 30 s sends once more.
        if not first.acquire(blocking=False):
            killed.wait(20)
        return add(self, *given, **more)

    monkeypatch.setattr(ExecutionStore, "add", held)
    workflow = bench.workbook(
        f"""
        each:
          with-items: i in <% range({MANY}) %>
          action: st2.action
          input: {{ref: sandbox.echo, parameters: {{value: <% $.i %>}}}}
        """
    )
    victim = cluster.executors[0]
    begun = time.monotonic()
    execution = bench.start(workflow)
    eventually(lambda: len(list(bench.mistral.running_actions())) >= MANY, "all are recorded")
    # They are sent to the executors after that.
    time.sleep(3)
    victim.kill()
    had = len(children(bench, execution))
    killed.set()
    try:
        assert 0 < had < MANY
        run = bench.wait(execution, TIMEOUT)
    finally:
        victim.start()
        victim.wait_until(lambda: victim.has_logged("server started."), TIMEOUT)
    assert run.execution["state"] == "SUCCESS"
    values = [action["output"]["result"]["result"]["value"] for action in run.actions]
    assert sorted(values) == list(range(MANY))
    made = Counter(child["context"]["mistral"]["action_execution_id"] for child in children(bench, run))
    assert made == dict.fromkeys((action["id"] for action in run.actions), 1)
    adopted = {
        action for action in made if f"runs for action execution {action}, which" in cluster.relay.log
    }
    print(
        f"Mistral {cluster.version}: killed after {had} of {MANY} children, {len(adopted)} were lost"
        f" and adopted, all done after {time.monotonic() - begun:.1f} s"
    )
    assert adopted


def test_the_notifier_hears_of_it(cluster: Cluster, bench: Bench) -> None:
    workflow = bench.workbook("say: {action: st2.action, input: {ref: core.noop}}")
    params = {"notify": [{"type": "noop"}]}
    started = bench.request("POST", "/executions", {"workflow_name": workflow, "params": params})
    assert bench.wait(started["id"]).execution["state"] == "SUCCESS"
    notifier = cluster.processes["notifier"]
    eventually(
        lambda: f"WORKFLOW_SUCCEEDED for [name={workflow}, id={started['id']}]" in notifier.log,
        "the notifier publishes",
    )


def test_no_process_is_in_trouble(cluster: Cluster) -> None:
    """The last one: what the logs of all tests before hold."""
    for process in cluster.processes.values():
        assert process.poll() is None, process.name
        assert "Traceback" not in process.log, process.log_path
        key = cluster.st2_settings.credential.api_key
        assert key is not None
        assert key not in process.log


def children(bench: Bench, run: Run | str) -> list[dict[str, Any]]:
    workflow_execution_id = run if isinstance(run, str) else run.execution["id"]
    return [
        execution
        for execution in bench.stackstorm.executions.all()
        if execution["context"].get("mistral", {}).get("workflow_execution_id") == workflow_execution_id
    ]
