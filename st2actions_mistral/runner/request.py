"""What a StackStorm execution asks of the runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from st2actions_mistral.errors import InputError


@dataclass(frozen=True)
class Rerun:
    """Named tasks of a workflow that has failed, to be run again in place."""

    workflow_execution_id: str
    execution_id: str
    """The StackStorm execution that is re-run."""
    tasks: Sequence[str]
    reset: Sequence[str] = ()
    """Those of the tasks whose items are all to be run again; of the others only the failed ones."""


@dataclass(frozen=True)
class Request:
    """One StackStorm execution of a ``mistral-v2`` action."""

    execution_id: str
    """StackStorm's, 24 hexadecimal digits."""
    ref: str
    """The action, ``pack.action``: the name that its workbook or workflow has to have."""
    entry_point: Path
    """The file with the workbook or workflow."""
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The action's parameters and what ``context`` adds. None stands for: not given."""
    workflow: str | None = None
    task_name: str | None = None
    user: str | None = None
    notify: Mapping[str, Any] | None = None
    skip_notify: Sequence[str] = ()
    rerun: Rerun | None = None


def read(
    runner_parameters: Mapping[str, Any],
    action_parameters: Mapping[str, Any],
    context: Mapping[str, Any],
    *,
    execution_id: str,
    ref: str,
    entry_point: Path,
    notify: Mapping[str, Any] | None = None,
    rerun_of: str | None = None,
) -> Request:
    """The request in the parameters of an execution.

    :param runner_parameters: as ``runner.yaml`` declares them.
    :param action_parameters: the action's own.
    :param context: the execution's context, with ``user`` and, of a re-run, ``re-run``.
    :param rerun_of: the workflow execution of the execution that this one is a re-run of, if it is one.
    :raises InputError: a parameter cannot be used.
    """
    further = runner_parameters.get("context")
    if further is not None and not isinstance(further, Mapping):
        raise InputError("context", "must be an object with further inputs of the workflow.")
    further = further or {}
    # What an action says of a parameter (its type, its values, that nobody may change it) holds.
    known = [str(name) for name in further if name in action_parameters]
    if known:
        raise InputError(
            "context", f"gives {', '.join(known)}, which the action has as a parameter: give that."
        )
    again = context.get("re-run")
    again = again if isinstance(again, Mapping) else {}
    tasks = _names("tasks", again.get("tasks") or runner_parameters.get("tasks"))
    reset = _names("reset", again.get("reset") or runner_parameters.get("reset"))
    if tasks and set(reset) - set(tasks):
        raise InputError("reset", f"names tasks that are not among tasks: {_listed(reset, tasks)}.")
    rerun = None
    if tasks:
        first = again.get("ref")
        if not rerun_of or not isinstance(first, str):
            raise InputError(
                "tasks",
                "names tasks to be run again, but there is no workflow to run them in: use"
                " 'st2 execution re-run ID tasks=…' with the id of an execution that started one.",
            )
        rerun = Rerun(rerun_of, first, tasks, reset)
    user = context.get("user")
    return Request(
        execution_id=execution_id,
        ref=ref,
        entry_point=entry_point,
        inputs={**action_parameters, **further},
        workflow=runner_parameters.get("workflow") or None,
        task_name=runner_parameters.get("task_name") or None,
        user=user if isinstance(user, str) else None,
        notify=notify or None,
        skip_notify=_names("skip_notify", runner_parameters.get("skip_notify")),
        rerun=rerun,
    )


def _names(parameter: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(parameter, "must be a list of names of tasks.")
    return list(dict.fromkeys(value))


def _listed(names: Sequence[str], known: Sequence[str]) -> str:
    return ", ".join(name for name in names if name not in known)
