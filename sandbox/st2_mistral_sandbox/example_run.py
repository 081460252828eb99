"""Run one example in a sandbox, from the side of StackStorm."""

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

_ENDED: Final = object()


class Progress(Protocol):
    """Told what goes on."""

    def say(self, words: str) -> None:
        """A step of the sandbox."""

    def execution(self, ref: str, status: str) -> None:
        """An execution of the example has a new status."""

    def typed(self, line: str) -> None:
        """A line is typed at a shell's prompt."""

    def told(self, output: str) -> None:
        """What the line that was typed last printed."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    parent: dict[str, Any]
    """The execution of the workflow, as StackStorm shows it."""
    children: list[dict[str, Any]]
    """Those of its actions, in the order in which they began."""

    def rows(self) -> list[tuple[str, ...]]:
        """What ``st2 execution list`` shows of each, in the order of :data:`COLUMNS`."""
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
        """For programs."""
        return {
            "executions": [dict(zip(COLUMNS, row, strict=True)) for row in self.rows()],
            "result": self.parent.get("result"),
        }


def run(
    example: Example, parameters: Mapping[str, Any], *, timeout: float, progress: Progress
) -> Outcome:
    """Start a sandbox, run an example in it to its end, and stop the sandbox.

    :param timeout: seconds from the start of the workflow.
    :raises SandboxError: a part of the sandbox did not start, or the example did not end in time.
    :raises Answered: StackStorm refuses the parameters.
    """
    with Sandbox(say=progress.say) as sandbox:
        return run_in(sandbox, example, parameters, timeout=timeout, progress=progress)


def run_in(
    sandbox: Sandbox,
    example: Example,
    parameters: Mapping[str, Any],
    *,
    timeout: float,
    progress: Progress,
) -> Outcome:
    """Run an example in a sandbox that is there, see :func:`run`."""

    def start() -> str:
        progress.say(f"Running {example.ref}")
        return str(sandbox.st2.create_execution(example.ref, parameters)["id"])

    return followed(sandbox, example, start, timeout=timeout, progress=progress)


def followed(
    sandbox: Sandbox,
    example: Example,
    start: Callable[[], str],
    *,
    timeout: float,
    progress: Progress,
) -> Outcome:
    """Follow an example to its end.

    :param start: starts it; returns the id of its execution in StackStorm.
    :raises SandboxError: it did not end in time.
    """
    with EventStream(sandbox.st2_settings) as stream:
        happening = stream.events()
        if next(happening, _ENDED) is not None:
            raise SandboxError("StackStorm's event stream ended at once.")
        parent_id = start()
        too_late = threading.Timer(timeout, stream.interrupt)
        too_late.start()
        try:
            ended = _follow(happening, parent_id, progress)
        finally:
            too_late.cancel()
    if not ended:
        raise SandboxError(
            f"{example.ref} did not end in {timeout:g} s. The relay's log ends with:\n"
            + "\n".join(sandbox.relay.tail())
        )
    return outcome_of(sandbox, parent_id)


def outcome_of(sandbox: Sandbox, parent_id: str) -> Outcome:
    """The parent and its children as they are now."""
    parent = sandbox.st2.get_execution(parent_id)
    if parent is None:
        raise SandboxError(f"StackStorm knows no execution {parent_id}.")
    children = sandbox.st2.children(parent_id)
    return Outcome(parent, sorted(children, key=lambda child: str(child["start_timestamp"])))


def _follow(happening: Iterator[Event | None], parent_id: str, progress: Progress) -> bool:
    """Tell what happens to the parent and its children, until the parent is final.

    :return: False where the stream ended before.
    """
    seen: dict[str, str] = {}
    try:
        for event in happening:
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
