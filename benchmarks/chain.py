"""Measure the time between the tasks of a workflow, and from its last result to the end of its parent.

    python -m benchmarks.chain [--tasks 5] [--rounds 10] [--wait 2]
                               [--notifier | --no-notifier] [--processes [VERSION]]

A StackStorm execution runs a workflow of ``st2.action`` tasks in a row, by turns with and without the
notifier. Each gap is the difference of two timestamps of StackStorm: the end of one execution and the
start of the next, and the end of the last one and the end of the parent. The end of the workflow is the
time in the log of Mistral's engine, on the same machine. A second workflow has one more task, of
Mistral's own: the relay gets no event for its end.

With ``--processes`` the notifier is Mistral's own process (``mistral-server --server notifier``).
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import requests

from benchmarks.systems import Systems, add_arguments, systems
from st2_mistral_sandbox.stackstorm import RunRequest, RunResult
from st2actions_mistral.model.links import DESCRIPTION, WorkflowRef, workflow_execution_id
from st2actions_mistral.model.notifications import PUBLISHER
from st2actions_mistral.runner.environment import environment
from st2actions_mistral.runner.request import WorkflowRequest

NAME = "bench.chain"
ACTION = {
    "pack": "bench",
    "name": "chain",
    "runner_type": "mistral-v2",
    "enabled": True,
    "parameters": {"notified": {"type": "boolean"}, "workflow": {"type": "string"}},
}

BETWEEN = "execution's end to next POST"
AFTER = "last end to parent's end"
REPORTED = "workflow's end to parent's"

NOTIFIED = {True: "with the notifier", False: "without"}

LAST = {f"{NAME}.action": "st2.action", f"{NAME}.own": "Mistral's own"}
"""The last task of each workflow, by its name."""


def workflow(name: str, tasks: int, wait: float) -> str:
    """Return the definition of a workflow of that many tasks in a row.

    :param name: a key of :data:`LAST`.
    :param wait: seconds before the last task, if it is Mistral's own.
    """
    lines = ["version: '2.0'", f"{name}:", "  tasks:"]
    for number in range(tasks):
        following = f", on-success: [task{number + 1}]" if number + 1 < tasks else ""
        action = "action: st2.action, input: {ref: core.noop}"
        lines.append(f"    task{number}: {{{action}{following}}}")
    if LAST[name] != "st2.action":
        lines[-1] = lines[-1].replace("}}", "}, on-success: [last]}")
        lines.append(f"    last: {{action: std.noop, wait-before: {wait:g}}}")
    return "\n".join(lines) + "\n"


def register(running: Systems, tasks: int, wait: float) -> None:
    """Save the workflows, and register the action that runs them."""

    def run(request: RunRequest) -> RunResult:
        id_ = workflow_execution_id(request.execution["id"])
        name = str(request.parameters["workflow"])
        wanted = WorkflowRequest(request.execution["id"], request.action["ref"], Path())
        env = environment(wanted, id_, api_url=request.api_url, context_key=None)
        notify = [{"type": PUBLISHER}] if request.parameters.get("notified") else []
        body = {
            "id": id_,
            "workflow_name": name,
            "params": {"env": env, "evaluate_env": False, "notify": notify},
            "description": f"{DESCRIPTION}{request.execution['id']}",
        }
        # MistralClient.start_workflow passes no notify: an operator turns the notifier on for all.
        url = f"{running.mistral_url}/executions"
        requests.post(url, json=body, timeout=30).raise_for_status()
        ref = WorkflowRef("mistral", id_, name)
        return RunResult("running", {"started": True}, ref.as_context(request.execution["context"]))

    for name in LAST:
        running.mistral.save_definition(workflow(name, tasks, wait), "workflow")
    running.stackstorm.register_runner("mistral-v2", run)
    running.stackstorm.register_action(ACTION)


def seconds(execution: dict[str, Any], which: str) -> float:
    """Return one timestamp of an execution, in seconds since 1970."""
    return datetime.fromisoformat(str(execution[which]).replace("Z", "+00:00")).timestamp()


def ended_at(running: Systems, parent_id: str) -> float:
    """Return when the engine ended the workflow of a parent, in seconds since 1970."""
    id_ = workflow_execution_id(parent_id)
    log = running.engine_log.read_text(encoding="utf-8", errors="replace")
    (line,) = (
        line
        for line in log.splitlines()
        if "[RUNNING -> SUCCESS" in line and "Workflow" in line and id_ in line
    )
    found = re.match(r"[-\d]+ [\d:.]+", line)
    assert found, line
    # Mistral logs in local time, as Python reads it.
    return datetime.fromisoformat(found[0]).astimezone(timezone.utc).timestamp()


def gaps(running: Systems, name: str, notified: bool, timeout: float = 60) -> dict[str, list[float]]:
    """Run a workflow once, and return the gaps by name, in seconds."""
    given = {"workflow": name, "notified": notified}
    parent_id = running.st2.create_execution(NAME, given)["id"]
    deadline = time.monotonic() + timeout
    while True:
        parent = running.st2.get_execution(parent_id)
        assert parent is not None
        if "end_timestamp" in parent:
            break
        assert time.monotonic() < deadline, f"{parent_id} is {parent['status']} after {timeout:g} s"
        # Rarely, so that the benchmark takes no processor time from what it measures.
        time.sleep(0.5)
    assert parent["status"] == "succeeded", parent
    children = running.st2.children(parent_id)
    children.sort(key=lambda child: str(child["start_timestamp"]))
    starts = [seconds(child, "start_timestamp") for child in children]
    ends = [seconds(child, "end_timestamp") for child in children]
    end = seconds(parent, "end_timestamp")
    reported = {REPORTED: [end - ended_at(running, parent_id)]}
    if LAST[name] != "st2.action":
        return reported
    between = [start - end for end, start in zip(ends, starts[1:], strict=False)]
    return {BETWEEN: between, AFTER: [end - ends[-1]], **reported}


def row(name: str, values: list[float]) -> str:
    """Return one line of the table."""
    return f"{name:32}{statistics.median(values):8.3f}{min(values):8.3f}{max(values):8.3f}"


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--wait",
        type=float,
        default=2,
        help="seconds before a last task of std.noop (default: 2)",
    )
    parser.add_argument(
        "--notifier",
        action=argparse.BooleanOptionalAction,
        help="run it only with, or only without the notifier (default: by turns)",
    )
    add_arguments(parser)
    args = parser.parse_args()
    modes = [True, False] if args.notifier is None else [bool(args.notifier)]
    kinds = [(name, mode) for name in LAST for mode in modes]
    found: dict[tuple[str, bool], dict[str, list[float]]] = {kind: defaultdict(list) for kind in kinds}
    with systems(args) as running:
        register(running, args.tasks, args.wait)
        for kind in kinds:
            # The first run fills caches and connections.
            gaps(running, *kind)
        for _ in range(args.rounds):
            # By turns, so that whatever else the machine does meets all alike.
            for kind in kinds:
                for name, values in gaps(running, *kind).items():
                    found[kind][name] += values
    print(f"{args.tasks} tasks in a row, {args.rounds} rounds, seconds:")
    for name, last in LAST.items():
        print(f"the last task is {last}")
        for mode in modes:
            print(f"{NOTIFIED[mode]:32}{'median':>8}{'min':>8}{'max':>8}")
            for gap, values in found[name, mode].items():
                # A single task has none between.
                if values:
                    print(row(gap, values))
        if len(modes) == 2:
            both = [statistics.median(found[name, mode][REPORTED]) for mode in modes]
            print(f"{REPORTED}, with / without: {both[0] / both[1]:.2f}")


if __name__ == "__main__":
    main()
