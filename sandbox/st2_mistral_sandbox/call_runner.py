"""A workflow runner for tests, in place of Orquesta: its workflows have one task."""

from __future__ import annotations

import json
import time
from typing import Final

from st2_mistral_sandbox.children import Executions, pass_on
from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult
from st2_mistral_sandbox.stackstorm.statuses import CANCELABLE, FINAL

_PAUSE: Final = 0.05


RUNNER: Final = "sandbox-workflow"

ACTION: Final = {
    "pack": "sandbox",
    "name": "call",
    "runner_type": RUNNER,
    "description": "Run an action as the only task of a workflow.",
}
"""The action of the runner."""

_PARAMETERS: Final = {
    "action": {"type": "string", "description": "The action to run.", "required": True},
    "parameters": {"type": "object", "description": "Its parameters.", "default": {}},
}


def call_runner() -> Runner:
    """Return the runner :data:`RUNNER`.

    It runs the action in its parameter ``action`` as its only child, and ends with the status and the
    result of it. Pausing, resuming and cancelling pass on to the child.
    """
    return Runner(_run, pause=_pause, resume=_resume, metadata={"runner_parameters": _PARAMETERS})


def _run(request: RunRequest) -> RunResult:
    api, id_ = Executions(request), request.execution["id"]
    called = {name: request.parameters[name] for name in ("action", "parameters")}
    context = json.dumps({"parent": {"execution_id": id_}})
    child = api.ask("POST", "", called, **{"st2-context": context})["id"]
    while (shown := api.ask("GET", f"/{child}"))["status"] not in FINAL:
        status = api.ask("GET", f"/{id_}")["status"]
        if shown["status"] == "paused" and status in ("running", "pausing"):
            api.ask("PUT", f"/{id_}", {"status": "paused"})
        if request.cancelled.wait(_PAUSE):
            if api.ask("GET", f"/{id_}")["status"] != "canceling":
                break  # the stand-in stops
            if shown["status"] in CANCELABLE:
                api.ask("DELETE", f"/{child}")
            time.sleep(_PAUSE)
    return RunResult(shown["status"], {"child": child, "output": shown.get("result")})


def _pause(request: RunRequest) -> RunResult:
    pass_on(request, "running", "pausing")
    return RunResult("pausing", {})


def _resume(request: RunRequest) -> RunResult:
    pass_on(request, "paused", "resuming")
    return RunResult("running", {})
