"""Run actions: the interface of a runner, and the built-in runners.

A runner is a callable that gets a :class:`RunRequest` and returns a :class:`RunResult`, in a worker
thread. After a result with status ``running`` the execution runs until a client PUTs a final status, as
with StackStorm's asynchronous runners.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunRequest:
    """The execution that a runner is to run."""

    execution: dict[str, Any]
    """The execution as the API shows it now, with status ``running`` and without masks."""
    parameters: dict[str, Any]
    """Every parameter of action and runner, with defaults."""
    action: dict[str, Any]
    """The action as ``/v1/actions`` shows it."""
    action_dir: Path | None
    """The folder with its entry point; None without files."""
    api_url: str
    auth_token: str = field(repr=False)
    """A token of the execution's user, revoked after the run unless the result is ``running``."""
    cancelled: threading.Event
    """Set when the execution is cancelled or the stand-in stops: a runner that waits must wait on
    it."""
    write: Callable[[str, str], None]
    """``write("stdout", text)`` adds text to ``/v1/executions/{id}/output``."""
    action_of: Callable[[str], dict[str, Any] | None] = field(repr=False)
    """Returns an action by ref, its runner's parameters included; None for an unknown action."""
    context_of: Callable[[str], dict[str, Any] | None] = field(repr=False)
    """Returns the context of an execution by id; None for an unknown one."""

    @property
    def entry_point(self) -> Path | None:
        """The path of the action's entry point; None without one."""
        if self.action_dir is None or not self.action["entry_point"]:
            return None
        return self.action_dir / str(self.action["entry_point"])


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run."""

    status: str
    """``succeeded``, ``failed``, ``timeout``, ``pending`` or ``running``; the outcome of ``pause`` and
    the other methods."""
    result: dict[str, Any]
    """If that of a run is empty, the execution fails, as in StackStorm, but not with a workflow runner.
    """
    context: dict[str, Any] = field(default_factory=dict)
    """Added to the execution's context."""


Run = Callable[[RunRequest], RunResult]


@dataclass(frozen=True)
class Runner:
    """A runner with further methods or metadata.

    With ``pause`` and ``resume`` it is a workflow runner, one of ``WORKFLOW_RUNNER_TYPES``.
    """

    run: Run
    cancel: Run | None = None
    """Cancels an execution that stayed running; without it the execution becomes ``canceled``.

    If it returns the status ``canceling`` or raises an error, the execution stays ``canceling`` until a
    client PUTs a final status.
    """
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The keys of StackStorm's runner.yaml: description, runner_parameters, output_key …"""
    pause: Run | None = None
    """Pauses an execution, and returns the status ``pausing`` or ``paused``."""
    resume: Run | None = None
    """Resumes an execution, and returns the status ``running`` or ``resuming``."""
    after_run: Callable[[str], None] | None = None
    """Called with the id of an execution after the outcome of its run was stored. An error fails the
    execution."""

    @property
    def is_workflow(self) -> bool:
        """True for a workflow runner."""
        return self.pause is not None and self.resume is not None


class ActionFailed(Exception):
    """A Python action failed. The text is its standard error."""


PythonAction = Callable[[RunRequest], Any]


class PythonRunner:
    """The runner ``python-script``, for actions that are functions of this package.

    The result has StackStorm's keys: ``{"stdout", "stderr", "exit_code", "result"}``.
    """

    def __init__(self, actions: Mapping[str, PythonAction]) -> None:
        self._actions = actions

    def __call__(self, request: RunRequest) -> RunResult:
        """Run the function of an action."""
        action = self._actions.get(str(request.action["ref"]))
        if action is None:
            return _python_result(1, None, "The StackStorm stand-in does not run Python files.")
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
    """Succeed."""
    return RunResult("succeeded", {"failed": False, "succeeded": True, "return_code": 0})


def inquirer(request: RunRequest) -> RunResult:
    """Stay pending until ``PUT /v1/inquiries/{id}``."""
    inquiry = {key: request.parameters[key] for key in ("schema", "roles", "users", "route", "ttl")}
    return RunResult("pending", inquiry)


def sleep(request: RunRequest) -> Any:
    """Sleep for ``seconds`` or until the execution is cancelled."""
    seconds = float(request.parameters["seconds"] or 0)
    if request.cancelled.wait(seconds):
        raise ActionFailed("interrupted")
    return {"slept": seconds}


def fail(request: RunRequest) -> Any:
    """Fail with ``message``."""
    raise ActionFailed(str(request.parameters["message"]))


def echo(request: RunRequest) -> Any:
    """Return ``value``."""
    return {"value": request.parameters["value"]}


SANDBOX_ACTIONS: dict[str, PythonAction] = {
    "sandbox.sleep": sleep,
    "sandbox.fail": fail,
    "sandbox.echo": echo,
    "sandbox.echo_object": echo,
}
