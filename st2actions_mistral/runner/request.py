"""Read the parameters of a StackStorm execution into a request to start or re-run a workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from st2actions_mistral.errors import InputError
from st2actions_mistral.model.context import CHATOPS_KEYS


@dataclass(frozen=True)
class Rerun:
    """Tasks of a failed workflow to re-run in the same workflow execution."""

    workflow_execution_id: str
    execution_id: str
    """The StackStorm execution that is re-run."""
    tasks: Sequence[str]
    reset: Sequence[str] = ()
    """Those of the tasks that re-run all of their items. The other ones re-run failed items only."""


@dataclass(frozen=True)
class WorkflowRequest:
    """One StackStorm execution of a ``mistral-v2`` action."""

    execution_id: str
    """The StackStorm execution, 24 hexadecimal digits."""
    ref: str
    """The action, ``pack.action``. Its workbook or workflow must have the same name."""
    entry_point: Path
    """The file with the workbook or workflow."""
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The action's parameters and the keys of ``context``. None: not given."""
    workflow: str | None = None
    """The workflow of the workbook, by its full or short name."""
    task_name: str | None = None
    """The target task of a reverse workflow."""
    user: str | None = None
    chatops: Mapping[str, str] = field(default_factory=dict)
    """The values of ``model.context.CHATOPS_KEYS`` in the execution's context."""
    liveaction_id: str | None = None
    """The other id that StackStorm has for the execution."""
    notify: Mapping[str, Any] | None = None
    skip_notify: Sequence[str] = ()
    rerun: Rerun | None = None


def parse_request(
    runner_parameters: Mapping[str, Any],
    action_parameters: Mapping[str, Any],
    context: Mapping[str, Any],
    *,
    execution_id: str,
    ref: str,
    entry_point: Path,
    liveaction_id: str | None = None,
    notify: Mapping[str, Any] | None = None,
    rerun_of: str | None = None,
) -> WorkflowRequest:
    """Return the request that the parameters of an execution make.

    :param runner_parameters: as ``runner.yaml`` declares them.
    :param action_parameters: the action's own.
    :param context: the execution's context, with ``user``, what ChatOps adds and, in a re-run,
        ``re-run``.
    :param rerun_of: in a re-run, the workflow execution of the execution that is re-run.
    :raises InputError: a parameter is invalid.
    """
    further = runner_parameters.get("context")
    if further is not None and not isinstance(further, Mapping):
        raise InputError("context", "must be an object with further inputs of the workflow.")
    further = further or {}
    # An action may restrict a parameter (type, values, immutable). "context" must not bypass that.
    known = [str(name) for name in further if name in action_parameters]
    if known:
        raise InputError(
            "context",
            f"contains {', '.join(known)}, a parameter of the action: set the parameter instead.",
        )
    again = context.get("re-run")
    again = again if isinstance(again, Mapping) else {}
    tasks = _names("rerun_tasks", again.get("tasks") or runner_parameters.get("rerun_tasks"))
    reset = _names("rerun_reset", again.get("reset") or runner_parameters.get("rerun_reset"))
    if tasks and set(reset) - set(tasks):
        raise InputError(
            "rerun_reset", f"names tasks that are not in rerun_tasks: {_listed(reset, tasks)}."
        )
    rerun = None
    if tasks:
        first = again.get("ref")
        if not rerun_of or not isinstance(first, str):
            raise InputError(
                "rerun_tasks",
                "names tasks to re-run, but there is no workflow to re-run them in: use 'st2 execution"
                " re-run ID rerun_tasks=…' with the id of an execution that started one.",
            )
        rerun = Rerun(rerun_of, first, tasks, reset)
    user = context.get("user")
    return WorkflowRequest(
        execution_id=execution_id,
        ref=ref,
        entry_point=entry_point,
        inputs={**action_parameters, **further},
        workflow=runner_parameters.get("workflow") or None,
        task_name=runner_parameters.get("task_name") or None,
        user=user if isinstance(user, str) else None,
        chatops={
            name: value
            for name in CHATOPS_KEYS
            if isinstance(value := context.get(name), str) and value
        },
        liveaction_id=liveaction_id,
        notify=notify or None,
        skip_notify=_names("skip_notify", runner_parameters.get("skip_notify")),
        rerun=rerun,
    )


def _names(parameter: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(parameter, "must be a list of task names.")
    return list(dict.fromkeys(value))


def _listed(names: Sequence[str], known: Sequence[str]) -> str:
    return ", ".join(name for name in names if name not in known)
