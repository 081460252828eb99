"""Start a workflow for a StackStorm execution: what the mistral-v2 runner of the stand-in does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.sandbox.stackstorm import RunRequest, RunResult

# Of this package; with the id of a StackStorm execution it makes the id of the workflow execution, so
# that starting twice starts one.
_NAMESPACE: Final = uuid.UUID("5b0e4b1c-3b58-5f0e-9f0a-6a3f5d0c7c11")


def runner(mistral: Callable[[], MistralClient], api_url: Callable[[], str]) -> Any:
    """A runner for the stand-in that starts workflows in Mistral.

    :param mistral: gives the client; called once an action runs, when Mistral is up.
    :param api_url: gives the URL of StackStorm's API, for the context of the workflow.
    """

    def run(request: RunRequest) -> RunResult:
        try:
            return _start(mistral(), api_url(), request)
        except St2MistralError as error:
            return RunResult("failed", {"error": str(error)})

    return run


def _start(mistral: MistralClient, api_url: str, request: RunRequest) -> RunResult:
    execution = request.execution
    if request.entry_point is not None:
        definition = request.entry_point.read_text(encoding="utf-8")
        # Mistral takes a second or two to check a workbook.
        if mistral.workbook_definition(request.action["ref"]) != definition:
            mistral.save_workbook(definition)
    inputs = dict(request.parameters)
    workflow = inputs.pop("workflow", None) or request.action["ref"]
    started = mistral.start_workflow(
        workflow,
        inputs,
        execution_id=str(uuid.uuid5(_NAMESPACE, execution["id"])),
        env=environment(api_url, execution),
        description=f"StackStorm execution {execution['id']}",
    )
    ids = {"execution_id": started["id"], "workflow_name": started["workflow_name"]}
    return RunResult("running", {"mistral": ids}, {"mistral": ids})


def environment(api_url: str, execution: dict[str, Any]) -> dict[str, Any]:
    """The environment of a workflow that runs for a StackStorm execution.

    It gives both actions their ``st2_context`` as a default input. Mistral starts a sub-workflow with
    an empty environment unless the task that starts it passes ours on, see ``docs/actions.md``.
    """
    context = {
        "api_url": api_url,
        "parent": {
            "execution_id": execution["id"],
            "user": execution["context"].get("user"),
        },
    }
    notify = execution["liveaction"].get("notify")
    if notify:
        context["notify"] = notify
    given = {"st2_context": context}
    return {"__actions": {"st2.action": given, "st2.callback": given}}
