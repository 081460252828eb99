"""The runner ``mistral-v2`` for the stand-in, as ``runner.mistral_v2`` is it for StackStorm."""

from __future__ import annotations

from collections.abc import Callable

from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import InputError, St2MistralError
from st2actions_mistral.model.workflow import workflow_of
from st2actions_mistral.runner import control
from st2actions_mistral.runner.catalogue import ActionCatalogue
from st2actions_mistral.runner.metadata import metadata
from st2actions_mistral.runner.request import WorkflowRequest, parse_request
from st2actions_mistral.runner.starting import Starter, failure


def runner(
    mistral: Callable[[], MistralClient],
    api_url: Callable[[], str],
    context_key: str | None = None,
    site: str = "mistral",
) -> Runner:
    """A runner that starts and cancels workflows in a Mistral.

    :param mistral: gives the client; called once an action runs, when Mistral is up.
    :param api_url: gives the URL of StackStorm's API, for the context of the workflow.
    :param context_key: as ``[st2] context_key``, to sign that context.
    :param site: as ``[st2] site`` of that Mistral.
    """

    def run(asked: RunRequest) -> RunResult:
        try:
            client = mistral()
            starter = Starter(
                client,
                ActionCatalogue(asked.parameters_of, client),
                site=site,
                api_url=api_url(),
                context_key=context_key,
            )
            started = starter.start(_read(asked))
        except St2MistralError as error:
            return RunResult("failed", failure(error, asked.execution["id"]))
        return RunResult("running", started.result(), started.workflow.as_context())

    def cancel(asked: RunRequest) -> RunResult:
        execution = asked.execution
        control.cancel_for(mistral(), execution["id"], execution["context"])
        return RunResult("canceled", {})

    return Runner(run, cancel, metadata=metadata())


def _read(asked: RunRequest) -> WorkflowRequest:
    execution = asked.execution
    of_runner = execution["runner"]["runner_parameters"]
    if asked.entry_point is None:
        raise InputError("entry_point", f"{asked.action['ref']} has none.")
    return parse_request(
        {name: value for name, value in asked.parameters.items() if name in of_runner},
        {name: value for name, value in asked.parameters.items() if name not in of_runner},
        execution["context"],
        execution_id=execution["id"],
        ref=asked.action["ref"],
        entry_point=asked.entry_point,
        notify=execution["liveaction"].get("notify"),
        rerun_of=_rerun_of(asked),
    )


def _rerun_of(asked: RunRequest) -> str | None:
    """The workflow execution that ran for the execution that this one is a re-run of."""
    ref = (asked.execution["context"].get("re-run") or {}).get("ref")
    context = asked.context_of(ref) if ref else None
    return workflow_of(context, str(ref)) if context is not None else None
