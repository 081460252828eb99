"""Check which tasks of a failed workflow can be re-run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.links import reports_to, started_for
from st2actions_mistral.model.mistral_fields import decoded
from st2actions_mistral.runner.request import Rerun, WorkflowRequest

_ABSENT: Final = object()


def check_workflow(request: WorkflowRequest, rerun: Rerun, execution: Mapping[str, Any]) -> None:
    """Check the workflow execution of a re-run.

    :param execution: the workflow execution, as Mistral's API shows it.
    :raises InputError: it did not run for the execution that is re-run, is not in ERROR, or has another
        input than the re-run.
    """
    # Whoever may create executions in StackStorm may write any workflow's id into their context.
    if rerun.execution_id not in (reports_to(execution), started_for(execution)):
        raise InputError("rerun_tasks", f"no workflow ran for execution {rerun.execution_id}.")
    name = str(execution["workflow_name"])
    if name != request.ref and not name.startswith(f"{request.ref}."):
        raise InputError(
            "rerun_tasks", f"the workflow {name} does not belong to the action {request.ref}."
        )
    if execution["state"] != states.ERROR:
        raise InputError(
            "rerun_tasks",
            f"the workflow is {execution['state']}, but only a workflow in ERROR can re-run tasks."
            " Give rerun_tasks=[] to start a new workflow.",
        )
    had = decoded(execution.get("input"))
    if not isinstance(had, Mapping):
        return
    given = {name: value for name, value in request.inputs.items() if value is not None}
    changed = [name for name, value in given.items() if had.get(name, _ABSENT) != value]
    if changed:
        raise InputError(
            "rerun_tasks",
            f"the workflow keeps its input, but {', '.join(changed)} has another value. Omit it, or"
            " give rerun_tasks=[] to start a new workflow.",
        )


def check_items(name: str, result: object, action_states: Collection[str]) -> None:
    """Check that Mistral can re-run only the failed items of a task.

    Mistral re-runs the failed items and all items after the last failed one, also those that succeeded.
    Then the task has more results than items, and stays RUNNING for ever (23.0.0).

    :param result: the task's result: a list with the results of its items in order.
    :param action_states: the states of all actions that the task has had.
    :raises InputError: an item that succeeded comes, or may come, after the last failed one.
    """
    if states.SUCCESS not in action_states:
        return
    if isinstance(result, Sequence) and result and _has_failed(result[-1]):
        return
    raise InputError(
        "rerun_tasks",
        f"Mistral can re-run only the failed items of {name} if its last item failed, which it did not."
        f" Add rerun_reset={name} to re-run all of its items.",
    )


def _has_failed(result: object) -> bool:
    """Return True for the result of an ``st2.action`` that failed."""
    if not isinstance(result, Mapping):
        return False
    about = result.get("st2")
    if isinstance(about, Mapping):
        return states.mistral_state(str(about.get("status"))) == states.ERROR
    # The execution was not created: the result has an error and the ref, and no "st2".
    return "error" in result and "ref" in result
