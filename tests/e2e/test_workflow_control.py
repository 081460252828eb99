"""Stories of pausing, asking and cancelling, typed with the unmodified ``st2`` command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.st2_terminal import St2, st2_in_sandbox
from support.waiting import eventually

WORKFLOWS = {
    "gated": """\
version: '2.0'
examples.gated:
  input: [gate]
  output: {said: <% task(second).result.result.value %>}
  tasks:
    first:
      action: core.local
      input: {cmd: "until test -e <% $.gate %>; do sleep 0.1; done", timeout: 300}
      on-success: second
    second: {action: sandbox.echo value="done"}
""",
    "outer": """\
version: '2.0'
examples.outer:
  input: [gate]
  tasks:
    call: {action: examples.gated, input: {gate: <% $.gate %>}, on-success: after}
    after: {action: core.noop}
""",
    "steps": """\
version: '2.0'
examples.steps:
  tasks:
    first: {action: core.noop, on-success: second}
    second: {action: core.noop, pause-before: true, on-success: third}
    third: {action: core.noop, pause-before: true}
""",
    "outer-steps": """\
version: '2.0'
examples.outer-steps:
  tasks:
    call: {action: examples.steps, on-success: after}
    after: {action: core.noop}
""",
    "asks": """\
version: '2.0'
examples.asks:
  output: {answer: <% task(ask).result.response %>}
  tasks:
    ask: {action: core.ask}
""",
    "outer-asks": """\
version: '2.0'
examples.outer-asks:
  tasks:
    call: {action: examples.asks, on-success: after}
    after: {action: core.noop}
""",
    "pendingask": """\
version: '2.0'
examples.pendingask:
  tasks:
    ask:
      action: st2.action
      input: {ref: core.ask}
      timeout: 3
""",
    "notif": """\
version: '2.0'
name: examples.notif
workflows:
  main:
    tasks:
      task1:
        action: core.local cmd="echo 1"
        on-success: [task2]
      task2:
        action: core.local cmd="echo 2"
        on-success: [sub]
      sub:
        workflow: inner
  inner:
    tasks:
      task2:
        action: core.local cmd="echo inner"
""",
}
NOTIF = {
    "parameters": {
        "workflow": {"type": "string", "default": "examples.notif.main", "immutable": True},
        "skip_notify": {"type": "array", "default": ["task2"]},
    },
    "notify": {"on-complete": {"message": "done", "channels": ["x"], "routes": ["slack"]}},
}


@pytest.fixture(scope="module")
def st2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[St2]:
    """Start a sandbox that rarely resyncs, with the workflows."""
    with st2_in_sandbox(tmp_path_factory.mktemp("control"), resync_interval=5) as st2:
        sandbox = st2.sandbox
        assert sandbox.stackstorm
        assert sandbox.packs
        actions = sandbox.packs / "examples" / "actions"
        (actions / "workflows").mkdir(exist_ok=True)
        for name, text in WORKFLOWS.items():
            (actions / "workflows" / f"{name}.yaml").write_text(text)
            gate = {"gate": {"type": "string", "required": True}} if "[gate]" in text else {}
            sandbox.stackstorm.register_action(
                {
                    "pack": "examples",
                    "name": name,
                    "runner_type": "mistral-v2",
                    "entry_point": f"workflows/{name}.yaml",
                    "parameters": gate,
                    **(NOTIF if name == "notif" else {}),
                }
            )
        yield st2


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return the path of a file for which the first task of examples.gated waits."""
    return tmp_path / "gate"


def nested(st2: St2, *words: str) -> tuple[str, str, str]:
    """Run a workflow; return the ids of it, of its child and of the grandchild, which runs."""
    outer = st2.run(*words)
    middle = st2.child_of(outer)
    inner = st2.child_of(middle)
    return outer, middle, inner


def children(st2: St2, parent: str) -> dict[str, str]:
    """Return the refs and statuses of the direct children of an execution."""
    found = st2.sandbox.st2.children(parent)
    return {e["action"]["ref"]: e["status"] for e in found if e.get("parent") == parent}


def has_children(st2: St2, parent: str, count: int) -> bool:
    return len(st2.sandbox.st2.children(parent)) == count


def log(st2: St2) -> str:
    return (st2.sandbox.folder / "relay.log").read_text(encoding="utf-8")


def test_pause_and_resume_two_levels_deep(st2: St2, gate: Path) -> None:
    outer, middle, inner = nested(st2, "examples.outer", f"gate={gate}")
    st2.until(inner, "running")
    st2("execution", "pause", outer)
    st2.until(outer, "pausing")
    st2.until(middle, "pausing")
    gate.touch()
    st2.until(middle, "paused")
    st2.until(outer, "paused")
    assert children(st2, middle) == {"core.local": "succeeded"}
    st2.workflow(outer, "PAUSED")
    st2.workflow(middle, "PAUSED")
    st2("execution", "resume", outer)
    st2.until(outer, "succeeded")
    assert st2.until(middle, "succeeded")["result"]["output"] == {"said": "done"}
    assert children(st2, outer) == {"examples.gated": "succeeded", "core.noop": "succeeded"}


def test_workflow_that_pauses_itself_is_paused_in_stackstorm(st2: St2) -> None:
    parent = st2.run("examples.steps")
    for done in (1, 2):
        st2.until(parent, "paused")
        assert len(st2.sandbox.st2.children(parent)) == done
        st2("execution", "resume", parent)
    st2.until(parent, "succeeded")
    assert len(st2.sandbox.st2.children(parent)) == 3


def test_workflow_is_paused_and_resumed_with_one_below_that_pauses_itself(st2: St2) -> None:
    outer = st2.run("examples.outer-steps")
    steps = st2.child_of(outer)
    for done in (1, 2):
        eventually(partial(has_children, st2, steps, done), f"{done} tasks have run")
        st2.until(steps, "paused")
        st2.until(outer, "paused")
        st2.workflow(outer, "PAUSED")
        st2("execution", "resume", outer)
    st2.until(outer, "succeeded")
    assert children(st2, outer) == {"examples.steps": "succeeded", "core.noop": "succeeded"}


def test_workflow_that_is_resumed_in_mistral_runs_in_stackstorm(st2: St2) -> None:
    parent = st2.run("examples.steps")
    st2.until(parent, "paused")
    workflow = st2.workflow(parent, "PAUSED").execution_id
    st2.sandbox.mistral.change_state(workflow, "RUNNING")
    eventually(lambda: len(st2.sandbox.st2.children(parent)) == 2, "the second task has run")
    st2.until(parent, "paused")
    st2("execution", "resume", parent)
    st2.until(parent, "succeeded")


def test_question_is_asked_and_answered_two_levels_deep(st2: St2) -> None:
    outer, middle, inquiry = nested(st2, "examples.outer-asks")
    st2.until(inquiry, "pending")
    st2.until(middle, "paused")
    st2.until(outer, "paused")
    assert inquiry in st2("inquiry", "list")
    st2("inquiry", "respond", inquiry, "-r", json.dumps({"continue": True}))
    st2.until(outer, "succeeded")
    answer = st2.until(middle, "succeeded")["result"]["output"]
    assert answer == {"answer": {"continue": True}}


def test_cancel_from_a_workflow_of_stackstorm(st2: St2, gate: Path) -> None:
    parameters = json.dumps({"gate": str(gate)})
    outer, middle, inner = nested(
        st2, "sandbox.call", "action=examples.gated", f"parameters={parameters}"
    )
    st2.until(inner, "running")
    st2("execution", "cancel", outer)
    for execution in (inner, middle, outer):
        st2.until(execution, "canceled")
    st2.workflow(middle, "CANCELLED")
    ends = {id_: st2.sandbox.st2.get_execution(id_) for id_ in (inner, middle, outer)}
    times = [str((execution or {})["end_timestamp"]) for execution in ends.values()]
    assert times == sorted(times), "what is below ends first"


def test_pause_from_a_workflow_of_stackstorm(st2: St2, gate: Path) -> None:
    parameters = json.dumps({"gate": str(gate)})
    outer, middle, inner = nested(
        st2, "sandbox.call", "action=examples.gated", f"parameters={parameters}"
    )
    st2.until(inner, "running")
    st2("execution", "pause", outer)
    st2.until(middle, "pausing")
    gate.touch()
    st2.until(middle, "paused")
    st2.until(outer, "paused")
    st2("execution", "resume", outer)
    st2.until(middle, "succeeded")
    st2.until(outer, "succeeded")


def status(st2: St2) -> str:
    """Return what ``st2-mistral status`` prints."""
    command = [str(Path(sys.executable).with_name("st2-mistral")), "status"]
    options = ["--config-file", str(st2.sandbox.folder / "relay.conf")]
    done = subprocess.run(command + options, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_inquiry_of_a_task_that_timed_out_is_reported_and_its_workflow_ends(st2: St2) -> None:
    parent = st2.run("examples.pendingask")
    inquiry = st2.child_of(parent)
    st2.until(inquiry, "pending")
    st2.until(parent, "failed")
    st2.workflow(parent, "ERROR")
    closed = f"StackStorm execution {inquiry} stays pending"
    eventually(lambda: closed in log(st2), "the relay reports it")
    assert inquiry in status(st2)
    assert f"Cancelling StackStorm execution {inquiry}" not in log(st2)
    assert log(st2).count(closed) == 1
    # A late answer changes nothing.
    st2("inquiry", "respond", inquiry, "-r", json.dumps({"continue": True}))
    st2.until(inquiry, "succeeded")
    assert inquiry not in status(st2)
    st2.until(parent, "failed")


def test_inquiry_below_a_cancelled_workflow_is_reported(st2: St2) -> None:
    outer, middle, inquiry = nested(st2, "examples.outer-asks")
    st2.until(inquiry, "pending")
    st2.until(outer, "paused")
    st2("execution", "cancel", outer)
    for execution in (middle, outer):
        st2.until(execution, "canceled")
        st2.workflow(execution, "CANCELLED")
    eventually(lambda: f"execution {inquiry} stays pending" in log(st2), "the relay reports it")
    assert f"Cancelling StackStorm execution {inquiry}" not in log(st2)
    assert inquiry in status(st2)


def test_notify_of_the_metadata_applies_to_all_tasks_but_those_to_skip(st2: St2) -> None:
    parent = st2.run("examples.notif")
    st2.until(parent, "succeeded")
    found: list[dict[str, Any]] = st2.sandbox.st2.children(parent)
    notified = {e["result"]["stdout"]: e["liveaction"].get("notify") for e in found}
    notify = {"on-complete": {"message": "done", "routes": ["slack"]}}
    assert notified == {1: notify, 2: None, "inner": None}
