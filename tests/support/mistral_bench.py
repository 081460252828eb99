"""Run workflows in a sandbox: a real Mistral, the StackStorm stand-in, and the relay as a process."""

from __future__ import annotations

import json
import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import RunResult
from st2actions_mistral.model import states
from st2actions_mistral.model.context import sign
from st2actions_mistral.runner.catalogue import ActionCatalogue
from st2actions_mistral.runner.environment import environment as environment_of
from st2actions_mistral.runner.request import WorkflowRequest
from support.waiting import TIMEOUT, eventually


def environment(
    api_url: str,
    parent: dict[str, Any],
    context_key: str | None = None,
    workflow_execution_id: str = "",
    project_id: str | None = None,
) -> dict[str, Any]:
    """Return the environment of a workflow that runs for a StackStorm execution."""
    request = WorkflowRequest(
        execution_id=parent["id"],
        ref=parent["action"]["ref"],
        entry_point=Path(),
        user=parent["context"].get("user"),
        notify=parent["liveaction"].get("notify"),
    )
    env = environment_of(
        request,
        workflow_execution_id,
        api_url=api_url,
        context_key=context_key,
        project_id=project_id,
    )
    if parent["action"]["ref"] == f"{JOB['pack']}.{JOB['name']}":
        # No mistral-v2 runner records the start of the workflow. st2.callback would wait for that.
        callback = env["__actions"]["st2.callback"]
        given = callback["st2_context"]
        unsigned = {key: given[key] for key in given if key not in ("runner", "signature")}
        callback["st2_context"] = sign(unsigned, context_key) if context_key else unsigned
    return env


@dataclass
class Run:
    """One finished workflow."""

    execution: dict[str, Any]
    tasks: dict[str, dict[str, Any]]
    """Task executions by name. Of several with one name, the last."""
    actions: list[dict[str, Any]]
    """Action executions with their output, the oldest first."""

    def result(self, task: str) -> Any:
        """Return ``task('…').result`` of a task with one action."""
        (action,) = [action for action in self.actions if action["task_name"] == task]
        return action["output"]["result"]


class Bench:
    """Start workflows and executions in a sandbox, and read their records."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.st2 = sandbox.st2
        self.mistral = sandbox.mistral

    @property
    def stackstorm(self) -> Any:
        """The StackStorm stand-in."""
        return self.sandbox.stackstorm

    def workbook(self, tasks: str, *, extra: str = "", more: str = "", inputs: str = "") -> str:
        """Publish a workbook with one workflow, ``main``, and return the full name."""
        name = f"tests.{uuid.uuid4().hex[:12]}"
        head = f"version: '2.0'\nname: {name}\n"
        declared = f"    input: {inputs}\n" if inputs else ""
        workflow = f"workflows:\n  main:\n{declared}    tasks:\n"
        body = textwrap.indent(textwrap.dedent(tasks).strip("\n"), " " * 6)
        others = textwrap.indent(textwrap.dedent(more).strip("\n"), "  ")
        rest = textwrap.dedent(extra).strip("\n")
        # Validation takes a second per task, and an invalid workflow fails anyway.
        self.mistral.save_definition(f"{head}{rest}\n{workflow}{body}\n{others}\n", validate=False)
        return f"{name}.main"

    def action(self, name: str, workbook: str, **metadata: Any) -> str:
        """Create or replace the ``mistral-v2`` action ``examples.NAME``, and return its ref."""
        assert self.sandbox.packs is not None
        entry_point = f"workflows/{name}.yaml"
        text = textwrap.dedent(workbook)
        (self.sandbox.packs / "examples" / "actions" / entry_point).write_text(text)
        about = {"pack": "examples", "name": name, "entry_point": entry_point, **metadata}
        self.stackstorm.register_action({"runner_type": "mistral-v2", **about})
        return f"examples.{name}"

    def execute(
        self,
        ref: str,
        parameters: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run an action in StackStorm, and return its final execution.

        :param context: what its creator puts into its context.
        """
        header = json.dumps(context) if context else None
        body = {"action": ref, "parameters": parameters or {}}
        created = self.st2.post_execution_once(body, header)
        final: dict[str, Any] = self.stackstorm.executions.wait(created["id"])
        return final

    def parent(self) -> dict[str, Any]:
        """Create a StackStorm execution that runs until it is finished by a request."""
        created = self.st2.create_execution("tests.job", {})

        def running() -> dict[str, Any] | None:
            found = self.st2.get_execution(created["id"])
            return found if found and found["status"] == "running" else None

        execution: dict[str, Any] = eventually(running, "the parent runs")
        return execution

    def start(
        self,
        workflow: str,
        workflow_input: dict[str, Any] | None = None,
        *,
        parent: dict[str, Any] | None = None,
    ) -> str:
        """Start a workflow, for a parent if one is given, and return its id."""
        env = environment(self.sandbox.st2_settings.api_url, parent) if parent else {}
        return str(self.mistral.start_workflow(workflow, workflow_input or {}, env=env)["id"])

    def wait(self, workflow_execution_id: str, timeout: float = TIMEOUT) -> Run:
        """Wait until a workflow has finished, and return it."""

        def ended() -> dict[str, Any] | None:
            execution = self.mistral.get_execution(workflow_execution_id)
            assert execution is not None
            return execution if execution["state"] in states.MISTRAL_FINAL else None

        return self.look(eventually(ended, f"workflow {workflow_execution_id} ends", timeout))

    def look(self, execution: dict[str, Any]) -> Run:
        """Return the tasks and actions of a workflow."""
        tasks = self.mistral.tasks(execution["id"])
        actions: list[dict[str, Any]] = []
        for task in tasks:
            for action in self.actions(task["id"]):
                output = action.get("output")
                decoded = json.loads(output) if isinstance(output, str) else output
                actions.append({**action, "task_name": task["name"], "output": decoded})
        return Run(execution, {task["name"]: task for task in tasks}, actions)

    def run(self, workflow: str, workflow_input: dict[str, Any] | None = None, **given: Any) -> Run:
        """Start a workflow, and wait until it has finished."""
        return self.wait(self.start(workflow, workflow_input, **given))

    def actions(self, task_execution_id: str) -> list[dict[str, Any]]:
        """Return the action executions of a task with their output."""
        return self.get(f"/tasks/{task_execution_id}/action_executions?include_output=true")[
            "action_executions"
        ]

    def get(self, path: str) -> Any:
        """Send a GET to Mistral."""
        return self.request("GET", path)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to Mistral, and return the decoded answer."""
        login = self.mistral.credential
        headers = login.headers() if login else {}
        url = self.mistral_url + path
        answer = requests.request(method, url, json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    @property
    def mistral_url(self) -> str:
        return self.sandbox.mistral_settings.url

    def children_of(self, action_execution_id: str) -> list[dict[str, Any]]:
        """Return all StackStorm executions for an action, in StackStorm's order."""
        found = [
            execution
            for execution in self.stackstorm.executions.all()
            if execution["context"].get("mistral", {}).get("action_execution_id") == action_execution_id
        ]
        return sorted(found, key=lambda execution: str(execution["start_timestamp"]))

    def action_state(self, action_execution_id: str) -> str:
        action = self.mistral.get_action(action_execution_id)
        assert action is not None
        return str(action["state"])


JOB = {
    "pack": "tests",
    "name": "job",
    "description": "Runs until a request finishes it.",
    "runner_type": "tests-async",
    "entry_point": "",
    "enabled": True,
    "parameters": {},
}


def new_bench(folder: Path, **given: Any) -> Iterator[Bench]:
    """Start a sandbox. Its folder keeps the logs."""
    with Sandbox(folder, **given) as sandbox:
        assert sandbox.stackstorm is not None
        sandbox.stackstorm.register_runner(
            "tests-async", lambda request: RunResult("running", {"note": "started"})
        )
        sandbox.stackstorm.register_action(JOB)
        yield Bench(sandbox)


class WithoutNative(ActionCatalogue):
    """The catalogue of a Mistral without native actions."""

    def is_native(self, name: str) -> bool:
        return False


def put_key(bench: Bench, name: str, value: str, **more: Any) -> None:
    """Set a key as the user of Mistral's credential."""
    settings = bench.sandbox.st2_settings
    response = requests.put(
        f"{settings.api_url}/keys/{name}",
        json={"name": name, "value": value, **more},
        headers={"St2-Api-Key": settings.credential.api_key or ""},
        timeout=30,
    )
    assert response.status_code == 200, response.text
