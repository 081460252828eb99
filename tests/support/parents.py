"""Run workflows for StackStorm executions, their parents, in a sandbox."""

from __future__ import annotations

from typing import Any

from st2_mistral_sandbox.stackstorm import RunRequest, RunResult
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model.links import DESCRIPTION, WorkflowRef, workflow_execution_id
from support.mistral_bench import Bench, environment
from support.waiting import eventually

WORKFLOW = {
    "pack": "tests",
    "name": "workflow",
    "runner_type": "mistral-v2",
    "enabled": True,
    "parameters": {"workflow": {"type": "string"}, "task_name": {"type": "string"}},
}
HELLO = "{ref: sandbox.echo, parameters: {value: hello}}"
SLEEP = "{ref: sandbox.sleep, parameters: {seconds: 60}}"


def starting(bench: Bench) -> Any:
    """Return a runner that starts the workflow in its parameters, which Mistral knows already."""

    def start(request: RunRequest) -> RunResult:
        execution = request.execution
        id_ = workflow_execution_id(execution["id"])
        name = request.parameters["workflow"]
        try:
            bench.mistral.start_workflow(
                name,
                {},
                execution_id=id_,
                env=environment(bench.sandbox.st2_settings.api_url, execution),
                description=f"{DESCRIPTION}{execution['id']}",
                task_name=request.parameters.get("task_name"),
            )
        except St2MistralError as error:
            return RunResult("failed", {"error": str(error)})
        ref = WorkflowRef("mistral", id_, name)
        return RunResult(
            "running", {"mistral": {"site": "mistral"}}, ref.as_context(execution["context"])
        )

    return start


def run(bench: Bench, workflow: str, **parameters: str) -> str:
    """Run a workflow as StackStorm does, and return the id of the parent."""
    parameters = {"workflow": workflow, **parameters}
    return str(bench.st2.create_execution("tests.workflow", parameters)["id"])


def ended(bench: Bench, parent: str, timeout: float = 30) -> dict[str, Any]:
    found: dict[str, Any] = bench.stackstorm.executions.wait(parent, timeout=timeout)
    return found


def children(bench: Bench, parent: str, number: int = 1) -> list[dict[str, Any]]:
    """Wait until that many child executions run, and return them."""

    def all_run() -> list[dict[str, Any]] | None:
        found = [e for e in bench.stackstorm.executions.all() if e.get("parent") == parent]
        return found if [child["status"] for child in found] == ["running"] * number else None

    found: list[dict[str, Any]] = eventually(all_run, f"{number} children run")
    return found


def workflow_of(bench: Bench, parent: str) -> str:
    """Return the id of the workflow execution of a parent, once the parent names it."""

    def named() -> str | None:
        ref = WorkflowRef.of(bench.stackstorm.executions.get(parent)["context"])
        return ref.execution_id if ref else None

    return str(eventually(named, "the parent names its workflow"))


def cancel_in_mistral(bench: Bench, workflow: str) -> None:
    bench.request("PUT", f"/executions/{workflow}", {"state": "CANCELLED"})


def log(bench: Bench) -> str:
    return (bench.sandbox.folder / "relay.log").read_text(encoding="utf-8")


def nested(bench: Bench) -> tuple[str, str, str]:
    """Run a workflow that runs another one through StackStorm.

    :return: the ids of the outer parent, the inner parent and the child execution of the inner one.
    """
    inner = bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}")
    call = f"{{ref: tests.workflow, parameters: {{workflow: {inner}}}}}"
    outer = run(bench, bench.workbook(f"call: {{action: st2.action, input: {call}}}"))
    (middle,) = children(bench, outer)
    (child,) = children(bench, middle["id"])
    return outer, middle["id"], child["id"]
