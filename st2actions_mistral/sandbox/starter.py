"""Start a workflow for a StackStorm execution: what the mistral-v2 runner of the stand-in does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model.context import sign
from st2actions_mistral.sandbox.stackstorm import RunRequest, RunResult

# Of this package; with the id of a StackStorm execution it makes the id of the workflow execution, so
# that starting twice starts one.
_NAMESPACE: Final = uuid.UUID("5b0e4b1c-3b58-5f0e-9f0a-6a3f5d0c7c11")


def runner(
    mistral: Callable[[], MistralClient], api_url: Callable[[], str], context_key: str | None = None
) -> Any:
    """A runner for the stand-in that starts workflows in Mistral.

    :param mistral: gives the client; called once an action runs, when Mistral is up.
    :param api_url: gives the URL of StackStorm's API, for the context of the workflow.
    :param context_key: as ``[st2] context_key``, to sign that context.
    """

    def run(request: RunRequest) -> RunResult:
        try:
            return _start(mistral(), api_url(), request, context_key)
        except St2MistralError as error:
            return RunResult("failed", {"error": str(error)})

    return run


def _start(
    mistral: MistralClient, api_url: str, request: RunRequest, context_key: str | None
) -> RunResult:
    execution = request.execution
    if request.entry_point is not None:
        definition = request.entry_point.read_text(encoding="utf-8")
        # Mistral takes a second or two to check a workbook.
        if mistral.workbook_definition(request.action["ref"]) != definition:
            mistral.save_workbook(definition)
    inputs = dict(request.parameters)
    workflow = inputs.pop("workflow", None) or request.action["ref"]
    execution_id = str(uuid.uuid5(_NAMESPACE, execution["id"]))
    started = mistral.start_workflow(
        workflow,
        inputs,
        execution_id=execution_id,
        env=environment(api_url, execution, context_key, execution_id),
        description=f"StackStorm execution {execution['id']}",
    )
    ids = {"execution_id": started["id"], "workflow_name": started["workflow_name"]}
    return RunResult("running", {"mistral": ids}, {"mistral": ids})


def environment(
    api_url: str,
    execution: dict[str, Any],
    context_key: str | None = None,
    workflow_execution_id: str | None = None,
) -> dict[str, Any]:
    """The environment of a workflow that runs for a StackStorm execution.

    It gives both actions their ``st2_context`` as a default input. Mistral starts a sub-workflow with
    an empty environment unless the task that starts it passes ours on, see ``docs/actions.md``.

    :param context_key: signs the contexts. The one that can end the execution is then good for
        ``workflow_execution_id`` only.
    """
    context: dict[str, Any] = {
        "api_url": api_url,
        "parent": {
            "execution_id": execution["id"],
            "user": execution["context"].get("user"),
        },
    }
    notify = execution["liveaction"].get("notify")
    if notify:
        context["notify"] = notify
    to_end_it = context
    if context_key:
        to_end_it = sign({**context, "workflow_execution_id": workflow_execution_id}, context_key)
        context = sign(context, context_key)
    return {
        "__actions": {
            "st2.action": {"st2_context": context},
            "st2.callback": {"st2_context": to_end_it},
        }
    }
