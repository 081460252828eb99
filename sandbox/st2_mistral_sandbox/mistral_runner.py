"""Provide the runner ``mistral-v2`` for the stand-in, as ``runner.mistral_v2`` does for StackStorm."""

from __future__ import annotations

from collections.abc import Callable

from st2_mistral_sandbox.children import pass_on
from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import InputError, St2MistralError
from st2actions_mistral.model.links import workflow_of
from st2actions_mistral.model.result import OUTPUT_LAYOUT
from st2actions_mistral.model.st2_action import St2Action
from st2actions_mistral.runner import control
from st2actions_mistral.runner.catalogue import ActionCatalogue
from st2actions_mistral.runner.metadata import metadata
from st2actions_mistral.runner.request import WorkflowRequest, parse_request
from st2actions_mistral.runner.starting import Starter, failure

Change = Callable[[MistralClient, str, object], set[str]]


def runner(
    mistral: Callable[[], MistralClient],
    api_url: Callable[[], str],
    context_key: str | None = None,
    site: str = "mistral",
    result_layout: str = OUTPUT_LAYOUT,
) -> Runner:
    """Make a runner that starts, pauses and cancels workflows in Mistral.

    :param mistral: returns the client. It is called when an action runs, after Mistral's start.
    :param api_url: returns the URL of StackStorm's API, for the context of the workflow.
    :param context_key: the ``[st2] context_key`` that signs this context.
    :param site: the ``[st2] site`` of Mistral.
    :param result_layout: the ``[st2] result_layout`` of Mistral.
    """

    def run(run_request: RunRequest) -> RunResult:
        try:
            client = mistral()
            starter = Starter(
                client,
                ActionCatalogue(lambda ref: _action(run_request, ref), client),
                site=site,
                api_url=api_url(),
                context_key=context_key,
            )
            started = starter.start(_read(run_request))
        except St2MistralError as error:
            return RunResult("failed", failure(error, run_request.execution["id"], result_layout))
        context = started.workflow.as_context(run_request.execution["context"])
        return RunResult("running", started.result(), context)

    def change(method: Change, run_request: RunRequest) -> set[str] | None:
        execution = run_request.execution
        try:
            return method(mistral(), execution["id"], execution["context"])
        except St2MistralError:
            return None

    def cancel(run_request: RunRequest) -> RunResult:
        found = change(control.cancel, run_request)
        return RunResult("canceled" if found == set() else "canceling", {})

    def pause(run_request: RunRequest) -> RunResult:
        change(control.pause, run_request)
        pass_on(run_request, "running", "pausing")
        return RunResult("pausing", {})

    def resume(run_request: RunRequest) -> RunResult:
        found = change(control.resume, run_request)
        pass_on(run_request, "paused", "resuming")
        return RunResult("running" if found else "resuming", {})

    return Runner(run, cancel, metadata(), pause, resume)


def _action(run_request: RunRequest, ref: str) -> St2Action | None:
    found = run_request.action_of(ref)
    return St2Action(found["parameters"], enabled=found["enabled"]) if found else None


def _read(run_request: RunRequest) -> WorkflowRequest:
    execution = run_request.execution
    of_runner = execution["runner"]["runner_parameters"]
    if run_request.entry_point is None:
        raise InputError("entry_point", f"{run_request.action['ref']} has none.")
    return parse_request(
        {name: value for name, value in run_request.parameters.items() if name in of_runner},
        {name: value for name, value in run_request.parameters.items() if name not in of_runner},
        execution["context"],
        execution_id=execution["id"],
        ref=run_request.action["ref"],
        entry_point=run_request.entry_point,
        liveaction_id=execution["liveaction"]["id"],
        notify=execution["liveaction"].get("notify"),
        rerun_of=_rerun_of(run_request),
    )


def _rerun_of(run_request: RunRequest) -> str | None:
    """Return the workflow execution of the execution that this one re-runs."""
    ref = (run_request.execution["context"].get("re-run") or {}).get("ref")
    context = run_request.context_of(ref) if ref else None
    return workflow_of(context, str(ref)) if context is not None else None
