"""Runners: what carries out an action, and the ones that the stand-in has.

A runner is a callable that takes a RunRequest and returns a RunResult, in a worker thread. With
the status ``running`` the execution stays running until somebody PUTs a final status: that is
StackStorm's asynchronous runner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunRequest:
    """One run of one action."""

    execution: dict[str, Any]
    """As the API shows it at this moment, with status ``running`` and secrets in plain."""
    parameters: dict[str, Any]
    """Every parameter of action and runner, defaults included."""
    action: dict[str, Any]
    """The action as ``/v1/actions`` shows it."""
    action_dir: Path | None
    """The folder of its pack's actions, or that it was registered from; its entry point is in it."""
    api_url: str
    auth_token: str = field(repr=False)
    """Of the user of the execution. Revoked when a run ends, unless it ends as ``running``."""
    cancelled: threading.Event
    """Set when the execution is cancelled or the stand-in stops; a runner that waits waits on it."""
    write: Callable[[str, str], None]
    """``write("stdout", text)``: what ``/v1/executions/{id}/output`` shows."""
    parameters_of: Callable[[str], dict[str, Any] | None] = field(repr=False)
    """The parameters of any action by its ref, its runner's included; None where there is none."""
    context_of: Callable[[str], dict[str, Any] | None] = field(repr=False)
    """The context of any execution by its id; None where there is none."""

    @property
    def entry_point(self) -> Path | None:
        """The path of the action's entry point, if it has one and there are files."""
        if self.action_dir is None or not self.action["entry_point"]:
            return None
        return self.action_dir / str(self.action["entry_point"])


@dataclass(frozen=True)
class RunResult:
    status: str
    """``succeeded``, ``failed``, ``timeout``, ``pending`` or ``running``."""
    result: dict[str, Any]
    """Must not be empty, or the execution fails, as in StackStorm."""
    context: dict[str, Any] = field(default_factory=dict)
    """Added to the execution's context."""


Run = Callable[[RunRequest], RunResult]


@dataclass(frozen=True)
class Runner:
    """A runner with more to it than a callable."""

    run: Run
    cancel: Run | None = None
    """Called when an execution that stayed running is cancelled. Status ``canceling`` leaves it
    so, until somebody PUTs a final one, and so does an exception; without this callable it becomes
    ``canceled``."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """As in StackStorm's runner.yaml: description, runner_parameters, output_key …"""


class ActionFailed(Exception):
    """A Python action gave up; the text is what it would have written to stderr."""


PythonAction = Callable[[RunRequest], Any]


class PythonRunner:
    """``python-script`` for actions that are functions here.

    The result has the shape of StackStorm's: ``{"stdout", "stderr", "exit_code", "result"}``.
    """

    def __init__(self, actions: Mapping[str, PythonAction]) -> None:
        self._actions = actions

    def __call__(self, request: RunRequest) -> RunResult:
        action = self._actions.get(str(request.action["ref"]))
        if action is None:
            return _python_result(1, None, "This stand-in runs no Python files.")
        try:
            return _python_result(0, action(request), "")
        except ActionFailed as error:
            request.write("stderr", f"{error}\n")
            return _python_result(1, None, str(error))


def _python_result(exit_code: int, result: Any, stderr: str) -> RunResult:
    return RunResult(
        "failed" if exit_code else "succeeded",
        {"stdout": "", "stderr": stderr, "exit_code": exit_code, "result": result},
    )


def noop(request: RunRequest) -> RunResult:
    return RunResult("succeeded", {"failed": False, "succeeded": True, "return_code": 0})


def inquirer(request: RunRequest) -> RunResult:
    """Asks, and stays pending until ``PUT /v1/inquiries/{id}``."""
    asked = {key: request.parameters[key] for key in ("schema", "roles", "users", "route", "ttl")}
    return RunResult("pending", asked)


def sleep(request: RunRequest) -> Any:
    seconds = float(request.parameters["seconds"] or 0)
    if request.cancelled.wait(seconds):
        raise ActionFailed("interrupted")
    return {"slept": seconds}


def fail(request: RunRequest) -> Any:
    raise ActionFailed(str(request.parameters["message"]))


def echo(request: RunRequest) -> Any:
    return {"value": request.parameters["value"]}


SANDBOX_ACTIONS: dict[str, PythonAction] = {
    "sandbox.sleep": sleep,
    "sandbox.fail": fail,
    "sandbox.echo": echo,
    "sandbox.echo_object": echo,
}
