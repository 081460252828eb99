"""The one table of states of the two systems.

StackStorm's words are those of an execution's ``status`` (3.9), Mistral's those of the
``state`` of a workflow, task or action execution. No other module spells out a set of them.
"""

from __future__ import annotations

from typing import Final

from st2actions_mistral.errors import InputError

# Mistral

RUNNING: Final = "RUNNING"
PAUSED: Final = "PAUSED"
IDLE: Final = "IDLE"
SUCCESS: Final = "SUCCESS"
ERROR: Final = "ERROR"
CANCELLED: Final = "CANCELLED"

MISTRAL_FINAL: Final = frozenset({SUCCESS, ERROR, CANCELLED})
"""Final states of a workflow or action execution."""

WORKFLOW_UNFINISHED: Final = (RUNNING, PAUSED, IDLE)

TASK_FINAL: Final = MISTRAL_FINAL | {"SKIPPED"}
"""Final states of a task execution; an operator may skip one."""

TASK_ACTIVE: Final = (RUNNING, PAUSED)
"""The task runs, or is paused together with something below it."""

TASK_BETWEEN_ATTEMPTS: Final = frozenset({"DELAYED", "WAITING"})
"""The task waits for the next attempt of its retry policy; a join is WAITING then."""

TASK_UNFINISHED: Final = (RUNNING, PAUSED, IDLE, *sorted(TASK_BETWEEN_ATTEMPTS))

# StackStorm

ST2_RUNNING: Final = "running"
ST2_SUCCEEDED: Final = "succeeded"
ST2_FAILED: Final = "failed"
ST2_CANCELED: Final = "canceled"
ST2_CANCELING: Final = "canceling"
ST2_PENDING: Final = "pending"
ST2_PAUSING: Final = "pausing"
ST2_PAUSED: Final = "paused"
ST2_RESUMING: Final = "resuming"

# A status that is not a key leaves the action RUNNING: PAUSED would pause the whole workflow, and
# Mistral does not resume it when the result comes.
_MISTRAL_STATE: Final = {
    ST2_SUCCEEDED: SUCCESS,
    ST2_FAILED: ERROR,
    "timeout": ERROR,
    "abandoned": ERROR,
    ST2_CANCELED: CANCELLED,
}

ST2_FINAL: Final = frozenset(_MISTRAL_STATE)

ST2_STOPPING: Final = frozenset({ST2_CANCELING, ST2_CANCELED})
"""Somebody cancelled the execution."""

ST2_ENDING: Final = ST2_FINAL | ST2_STOPPING
"""Cancelling the execution changes nothing."""

ST2_UNCANCELABLE: Final = ST2_ENDING | {ST2_PENDING}
"""Cancelling the execution changes nothing: it ends, or it is an inquiry, which StackStorm refuses to
cancel."""

ST2_INACTIVE: Final = ST2_FINAL | {ST2_PAUSED, ST2_PENDING}
"""A child execution does not run: its parent may be paused."""

ST2_WAITING: Final = (ST2_RUNNING, ST2_PAUSING, ST2_PAUSED, ST2_RESUMING, ST2_CANCELING)
"""A parent execution may wait for a workflow. Before it runs, its runner has not started one."""

ST2_STARTING: Final = (ST2_RUNNING, ST2_PAUSING, ST2_CANCELING)
"""The runner of a parent execution may be starting the workflow."""

ST2_REJECTING: Final = ST2_STOPPING | {ST2_FAILED}
"""A parent execution may not want its workflow: it was cancelled, or its runner could not find out
whether the workflow started."""

# The status of a parent execution for the final state of its workflow.
_ST2_STATUS: Final = {SUCCESS: ST2_SUCCEEDED, ERROR: ST2_FAILED, CANCELLED: ST2_CANCELED}

# What a workflow author may write in st2.callback.
_CALLBACK: Final = {**_ST2_STATUS, **{status.upper(): status for status in ST2_FINAL}}


def mistral_state(st2_status: str) -> str | None:
    """Return the final state of the action for the status of its child execution.

    :return: None while the child is not final.
    """
    return _MISTRAL_STATE.get(st2_status)


def st2_status(mistral_state: str) -> str:
    """Return the final status of a parent execution for the final state of its workflow."""
    return _ST2_STATUS[mistral_state]


def callback_status(state: object) -> str:
    """Return the final status of a parent execution for the state that its workflow reports.

    :param state: Mistral's or StackStorm's word for a final state, in any case.
    :raises InputError: for anything else; the text lists the valid words.
    """
    status = _CALLBACK.get(state.strip().upper()) if isinstance(state, str) else None
    if status is None:
        raise InputError(
            "state",
            f"{state!r:.80} is not a final state. Use SUCCESS, ERROR or CANCELLED"
            " (or StackStorm's succeeded, failed, timeout, abandoned, canceled).",
        )
    return status
