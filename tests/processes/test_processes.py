"""Workflows in a Mistral whose services are separate processes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from support.auth_tests import test_stackstorm_authenticates_users  # noqa: F401 - collected here
from support.breaking_servers import BreakingServer, Exchange, answer
from support.cluster.mistral_cluster import EXECUTORS, NO_DATABASE, WITHOUT_DATABASE, Cluster
from support.mistral_bench import Bench, Run
from support.native_examples import NATIVE
from support.st2_action_tests import (  # noqa: F401 - pytest collects them here
    test_action_execution_without_a_workflow,
    test_ad_hoc_action,
    test_ad_hoc_action_with_an_unknown_ref_is_an_error,
    test_execution_of_a_sub_workflow_belongs_to_the_parent,
    test_large_result_is_truncated_and_keeps_its_state,
    test_unknown_ref_is_an_error_with_stackstorms_message,
)
from support.trigger_events import payloads_of
from support.waiting import eventually
from support.workflow_children import children_of

from st2_mistral_sandbox import example_run, examples
from st2_mistral_sandbox.stackstorm.fault import Fault
from st2_mistral_sandbox.stackstorm.store import Execution, ExecutionStore

# The first test of a version creates its virtualenv.
pytestmark = pytest.mark.timeout(900)

TIMEOUT = 300.0
MANY = 200

SCHEDULED = "runs for action execution"

STORED = 8
"""Executions that are stored before an executor is killed."""

EXAMPLES: dict[str, dict[str, Any]] = {
    "error-handling": {},
    "functions": {},
    "join": {},
    "mistral-basic": {"cmd": "date +%F"},
    "mongodb-rolling-upgrade": {"duration": 2},
    "retry": {"seconds": 2},
    "sub-workflow": {},
    "with-items": {"names": ["Ada", "Grace"]},
    "without-callback": {"person": "Ada"},
}


class NoProgress:
    def step(self, text: str) -> None:
        pass

    def execution(self, ref: str, status: str) -> None:
        pass


def test_examples_are_complete() -> None:
    assert {ref.removeprefix("examples.") for ref in examples.load()} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(cluster: Cluster, name: str) -> None:
    outcome = example_run.run_in(
        cluster,
        examples.find(name),
        EXAMPLES[name],
        timeout=TIMEOUT,
        progress=NoProgress(),
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


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_with_native_actions_runs(cluster: Cluster, name: str) -> None:
    example = cluster.native_examples[f"examples.{NATIVE}{name}"]
    given = EXAMPLES[name]
    if name == "mongodb-rolling-upgrade":
        # The same upgrade without native actions has changed it.
        given = {**given, "primary": cluster.stackstorm.replica_set.primary}
    outcome = example_run.run_in(cluster, example, given, timeout=TIMEOUT, progress=NoProgress())
    assert outcome.parent["status"] == "succeeded", outcome.parent["result"]
    workflow = outcome.parent["result"]["mistral"]
    assert workflow["workflow_name"] == f"{example.ref}.main"
    tasks = cluster.mistral.tasks(workflow["workflow_execution_id"])
    names = {a["name"] for task in tasks for a in cluster.mistral.attempts(task["id"])}
    assert "st2.action" not in names
    refs = {child["action"]["ref"] for child in outcome.children}
    # That of the sub-workflow is not in the outermost one.
    assert refs <= names | ({"core.local"} if name == "sub-workflow" else set())
    parent = outcome.parent["id"]

    def told() -> list[str]:
        payloads = payloads_of(cluster.stackstorm, workflow["workflow_execution_id"])
        return [p["parent_execution_id"] for p in payloads if p["event"] == "WORKFLOW_SUCCEEDED"]

    assert eventually(told, "the notifier tells the end") == [parent]
    if name == "without-callback":
        finished = f"Finished: StackStorm execution {parent}"
        eventually(lambda: finished in cluster.processes["notifier"].log, "the notifier logs it")
        assert finished not in cluster.relay.log


def test_mistral_refuses_unknown_users(cluster: Cluster) -> None:
    for headers in ({}, {"X-Auth-Token": "unknown"}):
        url = f"{cluster.mistral_settings.url}/workflows"
        assert requests.get(url, headers=headers, timeout=30).status_code == 401


def test_only_api_and_engine_list_the_actions(cluster: Cluster) -> None:
    line = "actions of StackStorm."
    eventually(lambda: line in cluster.processes["engine"].log, "the engine has listed them")
    eventually(
        lambda: cluster.mistral.action("core.local") and line in cluster.processes["api"].log,
        "the API has listed them",
    )
    for name in ("notifier", *EXECUTORS):
        assert line not in cluster.processes[name].log


def test_many_executions_are_spread_over_both_executors(cluster: Cluster, bench: Bench) -> None:
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


def test_executor_needs_no_database(cluster: Cluster, bench: Bench) -> None:
    # Mistral drops the attribute "target" of a task on its way to a remote executor, so a test cannot
    # choose one. Of many actions each executor gets some.
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
    finished = bench.st2.get_execution(parent["id"])
    assert finished is not None
    assert (finished["status"], finished["result"]["output"]) == ("succeeded", "here")


@pytest.mark.parametrize(("state", "status"), [("SUCCESS", "succeeded"), ("ERROR", "failed")])
def test_callback_finishes_the_parent(cluster: Cluster, bench: Bench, state: str, status: str) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        f"tell: {{action: st2.callback, input: {{state: {state}, result: <% $.result %>}}}}",
        inputs="[result]",
    )
    run = bench.run(workflow, {"result": {"a": [1, None, "{{ x }}"]}}, parent=parent)
    assert run.result("tell") == {"execution_id": parent["id"], "status": status}
    finished = bench.st2.get_execution(parent["id"])
    assert finished is not None
    assert finished["status"] == status
    assert finished["result"]["output"] == {"a": [1, None, "{{ x }}"]}
    ran = [run.actions[0]["id"] in cluster.ran(executor, "St2Callback") for executor in EXECUTORS]
    assert sorted(ran) == [False, True]


def test_relay_completes_actions_after_a_restart(cluster: Cluster, bench: Bench) -> None:
    cluster.relay.stop()
    try:
        started = bench.start(bench.workbook("say: {action: st2.action, input: {ref: core.noop}}"))
        child = eventually(lambda: children(bench, started), "the execution is created")[0]
        bench.stackstorm.executions.wait(child["id"])
        execution = bench.mistral.get_execution(started)
        assert execution is not None
        assert execution["state"] == "RUNNING"
    finally:
        cluster.relay.start()
    assert bench.wait(started).execution["state"] == "SUCCESS"


def test_actions_that_wait_for_stackstorm_do_not_block_others(cluster: Cluster, bench: Bench) -> None:
    number, release = 40, threading.Event()
    waiting = bench.workbook(
        f"""
        each:
          with-items: i in <% range({number}) %>
          action: st2.action
          input: {{ref: core.noop, st2_context: {{api_url: <% $.api_url %>}}}}
        """,
        inputs="[api_url]",
    )
    quick = bench.workbook("say: {action: st2.action, input: {ref: core.noop}}")

    def wait_and_reject(exchange: Exchange) -> bool:
        release.wait(TIMEOUT)
        return answer(400, {"faultstring": "not here"})(exchange)

    port = urlsplit(cluster.other_api_url).port
    assert port is not None
    with BreakingServer(wait_and_reject, port=port) as server:
        try:
            slow = bench.start(waiting, {"api_url": cluster.other_api_url})
            eventually(lambda: len(server.requests) == number, "all actions wait")
            assert bench.run(quick).execution["state"] == "SUCCESS"
            behind = bench.look({"id": slow})
            assert {action["state"] for action in behind.actions} == {"RUNNING"}
        finally:
            release.set()
        ended = bench.wait(slow, TIMEOUT)
    assert ended.execution["state"] == "ERROR"
    assert {action["state"] for action in ended.actions} == {"ERROR"}
    assert all("not here" in action["output"]["result"]["error"] for action in ended.actions)


def test_relay_reschedules_actions_of_a_killed_executor(
    cluster: Cluster, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistral never sends them again. The relay creates the executions from Mistral's records."""
    add, killed, first = ExecutionStore.add, threading.Event(), threading.Semaphore(STORED)
    ran_by_victim: set[str] = set()

    def held(self: ExecutionStore, execution: Execution, **given: Any) -> Any:
        action = execution.context["mistral"]["action_execution_id"]
        if killed.is_set() or first.acquire(blocking=False):
            return add(self, execution, **given)
        # Not longer: an executor without an answer repeats its request after 30 s.
        if killed.wait(20) and action in ran_by_victim:
            # A POST of a dead executor got no further than its connection.
            raise Fault(503, "The executor was killed.")
        return add(self, execution, **given)

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

    def ran() -> set[str]:
        own = {action["id"] for action in bench.mistral.running_actions()}
        return own & cluster.ran(victim.name, "St2Action")

    # More than are stored of both executors: some of the victim's are lost for certain.
    eventually(lambda: len(ran()) > STORED, "the first executor runs actions")
    victim.kill()
    ran_by_victim |= ran()
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
    rescheduled = {
        action for action in made if f"runs for action execution {action}, which" in cluster.relay.log
    }
    print(
        f"Mistral {cluster.version}: killed after {had} of {MANY} executions, {len(rescheduled)} were"
        f" rescheduled, all done after {time.monotonic() - begun:.1f} s"
    )
    assert rescheduled


def test_notifier_publishes_the_end_of_the_workflow(cluster: Cluster, bench: Bench) -> None:
    workflow = bench.workbook("say: {action: st2.action, input: {ref: core.noop}}")
    params = {"notify": [{"type": "noop"}]}
    started = bench.request("POST", "/executions", {"workflow_name": workflow, "params": params})
    assert bench.wait(started["id"]).execution["state"] == "SUCCESS"
    notifier = cluster.processes["notifier"]
    eventually(
        lambda: f"WORKFLOW_SUCCEEDED for [name={workflow}, id={started['id']}]" in notifier.log,
        "the notifier publishes",
    )


def test_logs_have_no_traceback_and_no_credential(cluster: Cluster) -> None:
    """Check the logs of all tests before: this is the last test."""
    for process in cluster.processes.values():
        assert process.poll() is None, process.name
        assert "Traceback" not in process.log, process.log_path
        key = cluster.st2_settings.credential.api_key
        assert key is not None
        assert key not in process.log


def children(bench: Bench, run: Run | str) -> list[dict[str, Any]]:
    return children_of(bench.stackstorm, run if isinstance(run, str) else run.execution["id"])
