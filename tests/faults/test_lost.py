"""Actions that were lost before they reached StackStorm, or whose execution vanished from there."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.breaking_servers import BreakingServer, Exchange, forward, hang_up, refusing
from support.mistral_bench import JOB, Bench
from support.resync_watch import ResyncWatch
from support.waiting import TIMEOUT, eventually
from support.workflow_children import children_of

from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import RunResult, StackStorm
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.client.settings import Credential, St2Settings
from st2actions_mistral.model.context import MistralIds

MANY = 120
# Fewer than the threads of Mistral's executor, which has 64.
HELD = 50

EACH = f"""
each:
  with-items: i in <% range({MANY}) %>
  action: st2.action
  input: {{ref: sandbox.echo, parameters: {{value: <% $.i %>}}}}
"""

# So short that every action looks its execution up first, and that a lost action is closed soon.
RESCHEDULE_AFTER, LOST_AFTER = 3, 4
OPTIONS = f"resync_interval = 0.5\nreschedule_after = {RESCHEDULE_AFTER}\nlost_after = {LOST_AFTER}"


def children(bench: Bench, workflow: str) -> list[dict[str, Any]]:
    return children_of(bench.stackstorm, workflow)


def kill_mistral(bench: Bench) -> None:
    server = bench.sandbox.mistral_server
    assert server.pid is not None
    os.killpg(server.pid, signal.SIGKILL)
    server.stop()


# -- rescheduled or not --------------------------------------------------------------------------


@dataclass
class Way:
    """Path to StackStorm on which requests can be lost."""

    stackstorm: StackStorm
    posts_vanish: threading.Event = field(default_factory=threading.Event)
    """Drop every POST without a response."""
    all_vanish: threading.Event = field(default_factory=threading.Event)
    """Drop every request without a response."""
    before_post: Callable[[], None] | None = None
    """Called before a POST is passed on."""
    admits: Callable[[], bool] = lambda: True
    """Called before a POST is passed on. False drops it without a response."""

    def __call__(self, exchange: Exchange) -> bool:
        assert exchange.request is not None
        if self.all_vanish.is_set() or (
            self.posts_vanish.is_set() and exchange.request.method == "POST"
        ):
            return hang_up()(exchange)
        if self.before_post and exchange.request.method == "POST":
            self.before_post()
        if exchange.request.method == "POST" and not self.admits():
            return hang_up()(exchange)
        return forward(self.stackstorm.base_url)(exchange)


class LossyBench(Bench):
    """A sandbox in which requests to StackStorm can be lost."""

    way: Way
    resyncs: ResyncWatch

    @property
    def stackstorm(self) -> StackStorm:
        return self.way.stackstorm

    def lost(self, workflow: str, *given: Any, **more: Any) -> str:
        """Start a workflow whose action is lost, and return its id once the action has given up."""
        log = self.sandbox.mistral_server.log_path
        since = len(log.read_bytes())
        self.way.posts_vanish.set()
        try:
            started = self.start(workflow, *given, **more)
            message = "The relay checks it"
            eventually(
                lambda: message in log.read_text(errors="replace")[since:], "the action has given up"
            )
        finally:
            self.way.posts_vanish.clear()
        return started


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LossyBench]:
    with StackStorm() as stackstorm:
        stackstorm.register_runner("tests-async", lambda request: RunResult("running", {"note": "x"}))
        stackstorm.register_action(JOB)
        way = Way(stackstorm)
        with (
            BreakingServer(way) as server,
            Sandbox(
                tmp_path_factory.mktemp("lossy"),
                st2=St2Settings(
                    api_url=f"{server.url}/api/v1",
                    stream_url=stackstorm.stream_url,
                    credential=Credential(api_key=stackstorm.create_api_key()),
                ),
                options="retry_deadline = 0.5",
                relay=False,
                relay_options=OPTIONS,
            ) as sandbox,
            ResyncWatch(sandbox) as resyncs,
        ):
            bench = LossyBench(sandbox)
            bench.way = way
            bench.resyncs = resyncs
            yield bench


@dataclass
class Hold:
    """Admits some POSTs, and holds all later ones until it is released. Those are dropped."""

    first: int
    held: int = 0
    admitted: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _released: bool = False

    def __call__(self) -> bool:
        with self._changed:
            if self.admitted < self.first:
                self.admitted += 1
                return True
            self.held += 1
            self._changed.wait_for(lambda: self._released, TIMEOUT)
            return False

    def release(self) -> None:
        with self._changed:
            self._released = True
            self._changed.notify_all()


def test_lost_actions_are_rescheduled_after_mistral_was_killed(lossy: LossyBench) -> None:
    # Killed when some actions are complete, some wait for StackStorm, and the others have not started.
    # The relay is stopped because it would reschedule those that wait.
    lossy.sandbox.relay.stop()
    lossy.way.admits = hold = Hold(first=20)
    try:
        workflow = lossy.start(lossy.workbook(EACH))
        eventually(lambda: hold.held >= HELD, "actions wait for StackStorm")
        kill_mistral(lossy)
    finally:
        hold.release()
        lossy.way.admits = lambda: True
    assert len(children(lossy, workflow)) == hold.admitted
    lossy.sandbox.mistral_server.start()
    lossy.sandbox.relay.start()
    run = lossy.wait(workflow, timeout=300)
    assert run.execution["state"] == "SUCCESS"
    results = [action["output"]["result"] for action in run.actions]
    assert sorted(result["result"]["value"] for result in results) == list(range(MANY))
    assert len(children(lossy, workflow)) == MANY
    rescheduled = [line for line in lossy.sandbox.relay.tail(100_000) if " Rescheduled: " in line]
    assert len(rescheduled) >= HELD


SAY = """
say:
  action: st2.action
  input:
    ref: core.local
    parameters: {cmd: <% $.cmd %>}
    st2_context: {task_name: say}
"""
NATIVE = """
say:
  action: core.local
  input: {cmd: <% $.cmd %>, st2_context: {task_name: say}}
"""
CMD = {"cmd": "printf %s '{{ 1 + 1 }} {% raw %} é'"}


@pytest.mark.parametrize("say", [SAY, NATIVE], ids=["st2.action", "native"])
def test_rescheduled_execution_equals_one_that_the_action_creates(lossy: LossyBench, say: str) -> None:
    parent = lossy.parent()
    sent = lossy.run(lossy.workbook(say, inputs="[cmd]"), CMD, parent=parent)
    found = lossy.wait(lossy.lost(lossy.workbook(say, inputs="[cmd]"), CMD, parent=parent))
    assert found.execution["state"] == "SUCCESS"
    assert found.result("say")["stdout"] == sent.result("say")["stdout"] == "{{ 1 + 1 }} {% raw %} é"
    (by_action,) = children(lossy, sent.execution["id"])
    (by_relay,) = children(lossy, found.execution["id"])
    ids = by_relay["context"].pop("mistral")
    assert by_action["context"].pop("mistral").keys() == ids.keys()
    assert ids["task_name"] == "say"
    assert ids["task_execution_id"] == found.tasks["say"]["id"]
    assert ids["workflow_name"] == found.execution["workflow_name"]
    assert by_relay["context"]["parent"]["execution_id"] == parent["id"]
    for key in ("parameters", "context", "parent", "action", "notify"):
        assert by_relay.get(key) == by_action.get(key), key


def test_lost_native_action_of_a_sub_workflow_keeps_the_parent(lossy: LossyBench) -> None:
    parent = lossy.parent()
    book = lossy.workbook("call: {workflow: sub}", more="sub: {tasks: {one: {action: core.noop}}}")
    run = lossy.wait(lossy.lost(book, parent=parent))
    assert run.execution["state"] == "SUCCESS", run.execution["state_info"]
    [child] = [e for e in lossy.stackstorm.executions.all() if e.get("parent") == parent["id"]]
    assert child["action"]["ref"] == "core.noop"


def test_rejected_lost_action_is_an_error_and_on_error_runs(lossy: LossyBench) -> None:
    tasks = """
    bad: {action: st2.action, input: {ref: core.nonesuch}, on-error: [after]}
    after: {action: std.noop}
    """
    run = lossy.wait(lossy.lost(lossy.workbook(tasks)))
    assert run.execution["state"] == "SUCCESS"
    assert run.tasks["bad"]["state"] == "ERROR"
    error = run.actions[0]["output"]["result"]["error"]
    assert "core.nonesuch" in error
    assert "400" in error


def test_lost_ad_hoc_action_is_an_error(lossy: LossyBench) -> None:
    extra = """
    actions:
      shell:
        base: st2.action
        base-input: {ref: core.local, parameters: {cmd: <% $.cmd %>}}
        input: [cmd]
    """
    lossy.way.posts_vanish.set()
    try:
        workflow = lossy.start(lossy.workbook("say: {action: shell, input: {cmd: date}}", extra=extra))
        run = lossy.wait(workflow)
    finally:
        lossy.way.posts_vanish.clear()
    assert run.execution["state"] == "ERROR"
    assert "ad-hoc" in run.actions[0]["output"]["result"]["error"]


def test_vanished_execution_is_an_error_and_is_not_recreated(lossy: LossyBench) -> None:
    workflow = lossy.start(lossy.workbook("wait: {action: st2.action, input: {ref: tests.job}}"))

    def runs() -> list[dict[str, Any]]:
        return [child for child in children(lossy, workflow) if child["status"] == "running"]

    (child,) = eventually(runs, "the execution runs")
    # The relay then knows the execution.
    lossy.resyncs.wait_for_resync()
    lossy.stackstorm.executions.remove(child["id"])
    run = lossy.wait(workflow)
    assert run.execution["state"] == "ERROR"
    assert child["id"] in run.actions[0]["output"]["result"]["error"]
    assert children(lossy, workflow) == []


def test_no_action_is_lost_while_stackstorm_does_not_respond(lossy: LossyBench) -> None:
    workflow = lossy.start(lossy.workbook("wait: {action: st2.action, input: {ref: tests.job}}"))

    def runs() -> list[dict[str, Any]]:
        return [child for child in children(lossy, workflow) if child["status"] == "running"]

    (child,) = eventually(runs, "the execution runs")
    lossy.way.all_vanish.set()
    try:
        time.sleep(RESCHEDULE_AFTER + LOST_AFTER)
        lossy.resyncs.wait_for_resync()
    finally:
        lossy.way.all_vanish.clear()
    action = child["context"]["mistral"]["action_execution_id"]
    assert lossy.action_state(action) == "RUNNING"
    lossy.resyncs.wait_for_resync()
    assert lossy.action_state(action) == "RUNNING"
    lossy.st2.finish(child["id"], "succeeded", {"output": "at last"})
    assert lossy.wait(workflow).result("wait")["output"] == "at last"
    assert len(children(lossy, workflow)) == 1


def test_duplicate_execution_is_cancelled(lossy: LossyBench) -> None:
    workflow = lossy.start(lossy.workbook("wait: {action: st2.action, input: {ref: tests.job}}"))
    (first,) = eventually(lambda: children(lossy, workflow), "the execution is created")
    ids = first["context"]["mistral"]
    # Like a gateway that repeats a request.
    second = schedule(lossy.st2, ExecutionRequest("sandbox.sleep", {"seconds": 60}, MistralIds(**ids)))
    assert lossy.stackstorm.executions.wait(second["id"])["status"] == "canceled"
    assert lossy.action_state(ids["action_execution_id"]) == "RUNNING"
    lossy.st2.finish(first["id"], "succeeded", {"output": "first"})
    assert lossy.wait(workflow).result("wait")["output"] == "first"
    said = "\n".join(lossy.sandbox.relay.tail(10_000))
    assert f"Cancelling StackStorm execution {second['id']}" in said


def test_duplicate_execution_is_cancelled_after_a_restart(lossy: LossyBench) -> None:
    workflow = lossy.start(lossy.workbook("wait: {action: st2.action, input: {ref: tests.job}}"))
    (first,) = eventually(lambda: children(lossy, workflow), "the execution is created")
    lossy.sandbox.relay.stop()
    ids = MistralIds(**first["context"]["mistral"])
    second = schedule(lossy.st2, ExecutionRequest("sandbox.sleep", {"seconds": 60}, ids))
    lossy.sandbox.relay.start()
    assert lossy.stackstorm.executions.wait(second["id"])["status"] == "canceled"
    lossy.st2.finish(first["id"], "succeeded", {"output": "first"})
    assert lossy.wait(workflow).result("wait")["output"] == "first"


@dataclass
class Meeting:
    """Holds the POST of each relay until the other relay has sent one too.

    Each relay looks for an execution before its POST, so neither can see that of the other.
    """

    arrived: dict[str, threading.Event]

    def wait(self, relay: str) -> None:
        self.arrived[relay].set()
        for other in self.arrived.values():
            other.wait(TIMEOUT)


def test_duplicates_of_two_relays_deliver_the_result_of_the_first(
    lossy: LossyBench, tmp_path: Path
) -> None:
    """Two relays reschedule the same lost action at once, and one of them has no event stream."""
    lossy.sandbox.relay.stop()
    task = "wait: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 2}}}"
    workflow = lossy.lost(lossy.workbook(task))
    names = ("first", "second")
    meeting = Meeting({name: threading.Event() for name in names})
    args = lossy.sandbox.relay.args
    text = Path(args[-1]).read_text(encoding="utf-8")
    with contextlib.ExitStack() as stack:
        stack.callback(lossy.sandbox.relay.start)
        streams = (lossy.stackstorm.stream_url, f"{stack.enter_context(refusing())}/stream")
        for name, stream in zip(names, streams, strict=True):
            way = Way(lossy.stackstorm, before_post=partial(meeting.wait, name))
            server = stack.enter_context(BreakingServer(way))
            config = tmp_path / f"{name}.conf"
            config.touch(mode=0o600)
            own = {"api_url": f"{server.url}/api/v1", "stream_url": stream}
            config.write_text(with_options(text, own), encoding="utf-8")
            relay = ChildProcess(name, [*args[:-1], str(config)], tmp_path / f"{name}.log")
            stack.callback(relay.stop)
            relay.start()
        run = lossy.wait(workflow)
        (action,) = run.actions
        first, second = lossy.children_of(action["id"])
        assert lossy.stackstorm.executions.wait(first["id"])["status"] == "succeeded"
    assert action["output"]["result"]["st2"]["execution_id"] == first["id"]
    assert second["context"]["mistral"] == first["context"]["mistral"]


def with_options(text: str, options: dict[str, str]) -> str:
    """Replace options of the group ``[st2]`` in a configuration, and never time out."""
    for name, value in options.items():
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.M)
        assert count == 1, name
    return text.replace("[st2]\n", f"[st2]\nread_timeout = {TIMEOUT}\n")


@pytest.mark.parametrize("stopped", [False, True], ids=["relay-running", "relay-stopped"])
def test_late_execution_of_a_cancelled_workflow_is_cancelled(lossy: LossyBench, stopped: bool) -> None:
    # A slow executor: the relay has closed the action before the execution is created.
    workflow = lossy.lost(lossy.workbook("wait: {action: st2.action, input: {ref: tests.job}}"))
    (task,) = lossy.mistral.tasks(workflow)
    (action,) = lossy.actions(task["id"])
    lossy.request("PUT", f"/executions/{workflow}", {"state": "CANCELLED"})
    eventually(lambda: lossy.action_state(action["id"]) == "CANCELLED", "the action is closed")
    # The relay then has forgotten the action.
    lossy.resyncs.wait_for_resync()
    assert children(lossy, workflow) == []
    if stopped:
        lossy.sandbox.relay.stop()
    ids = MistralIds("mistral", workflow, "late", task["id"], action["id"])
    late = schedule(lossy.st2, ExecutionRequest("sandbox.sleep", {"seconds": 60}, ids))
    if stopped:
        # No action is pending, so only the look for orphaned executions finds this one.
        lossy.sandbox.relay.start()
    assert lossy.stackstorm.executions.wait(late["id"])["status"] == "canceled"
