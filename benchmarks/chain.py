"""Measure the time between the tasks of a workflow, and from its last result to the end of its parent.

    python -m benchmarks.chain [--tasks 5] [--rounds 10] [--processes [VERSION]]

A StackStorm execution runs a workflow of ``st2.action`` tasks in a row. Each gap is the difference of
two timestamps of StackStorm: the end of one execution and the start of the next, and the end of the
last one and the end of the parent.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.systems import Systems, add_arguments, systems
from st2_mistral_sandbox.stackstorm import RunRequest, RunResult
from st2actions_mistral.model.links import DESCRIPTION, WorkflowRef, workflow_execution_id
from st2actions_mistral.runner.environment import environment
from st2actions_mistral.runner.request import WorkflowRequest

NAME = "bench.chain"
ACTION = {
    "pack": "bench",
    "name": "chain",
    "runner_type": "mistral-v2",
    "enabled": True,
    "parameters": {},
}


def workflow(tasks: int) -> str:
    """Return the definition of a workflow of that many tasks in a row."""
    lines = ["version: '2.0'", f"{NAME}:", "  tasks:"]
    for number in range(tasks):
        following = f", on-success: [task{number + 1}]" if number + 1 < tasks else ""
        action = "action: st2.action, input: {ref: core.noop}"
        lines.append(f"    task{number}: {{{action}{following}}}")
    return "\n".join(lines) + "\n"


def register(running: Systems, tasks: int) -> None:
    """Save the workflow, and register the action that runs it."""

    def run(request: RunRequest) -> RunResult:
        id_ = workflow_execution_id(request.execution["id"])
        wanted = WorkflowRequest(request.execution["id"], request.action["ref"], Path())
        running.mistral.start_workflow(
            NAME,
            {},
            execution_id=id_,
            env=environment(wanted, id_, api_url=request.api_url, context_key=None),
            description=f"{DESCRIPTION}{request.execution['id']}",
        )
        ref = WorkflowRef("mistral", id_, NAME)
        return RunResult("running", {"started": True}, ref.as_context(request.execution["context"]))

    running.mistral.save_definition(workflow(tasks), "workflow")
    running.stackstorm.register_runner("mistral-v2", run)
    running.stackstorm.register_action(ACTION)


def seconds(execution: dict[str, Any], which: str) -> float:
    """Return one timestamp of an execution, in seconds since 1970."""
    return datetime.fromisoformat(str(execution[which]).replace("Z", "+00:00")).timestamp()


def gaps(running: Systems, timeout: float = 60) -> tuple[list[float], float]:
    """Run the workflow once.

    :return: seconds from the end of each execution to the start of the next, and from the end of the
        last one to the end of the parent.
    """
    parent_id = running.st2.create_execution(NAME, {})["id"]
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
    between = [start - end for end, start in zip(ends, starts[1:], strict=False)]
    return between, seconds(parent, "end_timestamp") - ends[-1]


def row(name: str, values: list[float]) -> str:
    """Return one line of the table."""
    return f"{name:28}{statistics.median(values):8.3f}{min(values):8.3f}{max(values):8.3f}"


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10)
    add_arguments(parser)
    args = parser.parse_args()
    between: list[float] = []
    after: list[float] = []
    with systems(args) as running:
        register(running, args.tasks)
        # The first run fills caches and connections.
        gaps(running)
        for _ in range(args.rounds):
            some, last = gaps(running)
            between += some
            after.append(last)
    print(f"{args.tasks} tasks in a row, {args.rounds} rounds, seconds:")
    print(f"{'':28}{'median':>8}{'min':>8}{'max':>8}")
    print(row("execution's end to next POST", between))
    print(row("last end to parent's end", after))


if __name__ == "__main__":
    main()
