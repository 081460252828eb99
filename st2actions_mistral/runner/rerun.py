"""Which tasks of a workflow that has failed can be run again in place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.workflow import decoded, has_items, reports_to, started_for
from st2actions_mistral.runner.request import Request, Rerun

_ABSENT: Final = object()


def check_workflow(request: Request, rerun: Rerun, execution: Mapping[str, Any]) -> None:
    """:raises InputError: the workflow is not that of the execution that is re-run, or not in ERROR, or
    has another input."""
    # Whoever may POST executions to StackStorm may write any id into their context.
    if rerun.execution_id not in (reports_to(execution), started_for(execution)):
        raise InputError("tasks", f"no workflow ran for execution {rerun.execution_id}.")
    name = str(execution["workflow_name"])
    if name != request.ref and not name.startswith(f"{request.ref}."):
        raise InputError("tasks", f"the workflow {name} is none of the action {request.ref}.")
    if execution["state"] != states.ERROR:
        raise InputError(
            "tasks",
            f"the workflow is {execution['state']}: only in one in ERROR can tasks be run again."
            " Give tasks=[] to start anew.",
        )
    had = decoded(execution.get("input"))
    if not isinstance(had, Mapping):
        return
    given = {name: value for name, value in request.inputs.items() if value is not None}
    changed = [name for name, value in given.items() if had.get(name, _ABSENT) != value]
    if changed:
        raise InputError(
            "tasks",
            f"the workflow goes on with the input that it had, and another {', '.join(changed)} is"
            " given. Leave that out, or give tasks=[] to start anew.",
        )


def check_tasks(rerun: Rerun, tasks: Mapping[str, Mapping[str, Any]]) -> None:
    """:raises InputError: with all tasks that cannot be run again as it is asked for."""
    problems = []
    for name in rerun.tasks:
        task = tasks.get(name)
        if task is None:
            problems.append(f"there was no task {name!r:.100}")
        elif task["state"] != states.ERROR:
            problems.append(f"{name} is {task['state']}")
    if problems:
        known = ", ".join(name for name, task in tasks.items() if task["state"] == states.ERROR)
        raise InputError(
            "tasks",
            f"only tasks in ERROR can be run again, but {', '.join(problems)}."
            f" In ERROR: {known or 'none'}.",
        )


def only_failed_items(rerun: Rerun, tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The tasks of which only the failed items are to run again, see :func:`check_items`."""
    return [name for name in rerun.tasks if name not in rerun.reset and has_items(tasks[name])]


def check_items(name: str, result: object, action_states: Collection[str]) -> None:
    """Whether Mistral can run only the failed items of a task again.

    It runs again what has failed, and all items behind the last of these, the ones that succeeded too;
    then it has more results than items, and never ends the task (23.0.0).

    :param result: of the task, with those of its items in their order.
    :param action_states: of all the actions that the task has had.
    :raises InputError: an item that succeeded stands behind the last that failed, or may do so.
    """
    if states.SUCCESS not in action_states:
        return
    if isinstance(result, Sequence) and result and _has_failed(result[-1]):
        return
    raise InputError(
        "tasks",
        f"of {name}, Mistral can run only the failed items again where the last item is one of them,"
        f" and it is not. Add reset={name} to run all of its items again.",
    )


def _has_failed(result: object) -> bool:
    """Whether the result of an action says that it is one of ``st2.action`` that has failed."""
    if not isinstance(result, Mapping):
        return False
    about = result.get("st2")
    if isinstance(about, Mapping):
        return states.mistral_state(str(about.get("status"))) == states.ERROR
    # It never came to an execution: see "Errors and what to do" in the README.
    return "error" in result and "ref" in result
