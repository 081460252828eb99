"""Run an example in a sandbox by creating its StackStorm execution."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.examples import Example
from st2_mistral_sandbox.sandbox import Sandbox
from st2actions_mistral.client.stream import Event, EventStream
from st2actions_mistral.errors import OutcomeUnknown
from st2actions_mistral.model import states

COLUMNS: Final = ("id", "action.ref", "context.user", "status", "start_timestamp")

_NO_EVENT: Final = object()


class Progress(Protocol):
    """Receives what happens while an example runs."""

    def step(self, text: str) -> None:
        """Report a step of the sandbox."""

    def execution(self, ref: str, status: str) -> None:
        """Report the new status of an execution of the example."""

    def command(self, line: str) -> None:
        """Report a command line that is run."""

    def output(self, text: str) -> None:
        """Report the output of the last command."""


@dataclass(frozen=True)
class Outcome:
    """The executions of an example after its end."""

    parent: dict[str, Any]
    """The execution of the workflow, as StackStorm's API shows it."""
    children: list[dict[str, Any]]
    """The executions of its actions, oldest first."""

    def rows(self) -> list[tuple[str, ...]]:
        """Return the columns of ``st2 execution list``, :data:`COLUMNS`, for each execution."""
        return [
            (
                execution["id"],
                execution["action"]["ref"],
                execution["context"].get("user", ""),
                execution["status"],
                execution["start_timestamp"],
            )
            for execution in (self.parent, *self.children)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for ``--json``."""
        return {
            "executions": [dict(zip(COLUMNS, row)) for row in self.rows()],
            "result": self.parent.get("result"),
        }


def run(
    example: Example, parameters: Mapping[str, Any], *, timeout: float, progress: Progress
) -> Outcome:
    """Start a sandbox, run an example in it to its end, and stop the sandbox.

    :param timeout: seconds from the start of the workflow.
    :raises SandboxError: a part of the sandbox did not start, or the example did not end in time.
    :raises Answered: StackStorm rejected the parameters.
    """
    with Sandbox(on_step=progress.step) as sandbox:
        return run_in(sandbox, example, parameters, timeout=timeout, progress=progress)


def run_in(
    sandbox: Sandbox,
    example: Example,
    parameters: Mapping[str, Any],
    *,
    timeout: float,
    progress: Progress,
) -> Outcome:
    """Run an example in a started sandbox, see :func:`run`."""

    def start() -> str:
        progress.step(f"Running {example.ref}")
        return str(sandbox.st2.create_execution(example.ref, parameters)["id"])

    return follow(sandbox, example, start, timeout=timeout, progress=progress)


def follow(
    sandbox: Sandbox,
    example: Example,
    start: Callable[[], str],
    *,
    timeout: float,
    progress: Progress,
) -> Outcome:
    """Start an example, report its executions until its end, and return them.

    :param start: starts the example and returns the id of its execution in StackStorm.
    :raises SandboxError: it did not end in time.
    """
    with EventStream(sandbox.st2_settings) as stream:
        events = stream.events()
        if next(events, _NO_EVENT) is not None:
            raise SandboxError("StackStorm's event stream closed at once")
        parent_id = start()
        deadline = threading.Timer(timeout, stream.interrupt)
        deadline.start()
        try:
            ended = _report_until_final(events, parent_id, progress)
        finally:
            deadline.cancel()
    if not ended:
        raise SandboxError(
            f"{example.ref} did not end within {timeout:g} s. The relay's log ends with:\n"
            + "\n".join(sandbox.relay.tail())
        )
    return read_outcome(sandbox, parent_id)


def read_outcome(sandbox: Sandbox, parent_id: str) -> Outcome:
    """Read the execution of an example and its child executions.

    :raises SandboxError: StackStorm does not know it.
    """
    parent = sandbox.st2.get_execution(parent_id)
    if parent is None:
        raise SandboxError(f"StackStorm does not know execution {parent_id}")
    children = sandbox.st2.children(parent_id)
    return Outcome(parent, sorted(children, key=lambda child: str(child["start_timestamp"])))


def _report_until_final(events: Iterator[Event | None], parent_id: str, progress: Progress) -> bool:
    """Report each new status of a parent and its children, until the parent is final.

    :return: False if the stream closed before.
    """
    seen: dict[str, str] = {}
    try:
        for event in events:
            execution = event.execution if event else {}
            if parent_id not in (execution.get("id"), execution.get("parent")):
                continue
            if seen.get(execution["id"]) != execution["status"]:
                seen[execution["id"]] = execution["status"]
                progress.execution(execution["action"]["ref"], execution["status"])
            if execution["id"] == parent_id and execution["status"] in states.ST2_FINAL:
                return True
    except OutcomeUnknown:
        return False
    return False
