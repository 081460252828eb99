"""The one table of states between the two systems.

StackStorm's words are those of an execution's ``status`` (3.8 and 3.9), Mistral's those of a
workflow or action execution's ``state``.
"""

from __future__ import annotations

from typing import Final

from st2actions_mistral.errors import InputError

# Mistral
RUNNING: Final = "RUNNING"
SUCCESS: Final = "SUCCESS"
ERROR: Final = "ERROR"
CANCELLED: Final = "CANCELLED"
PAUSED: Final = "PAUSED"

MISTRAL_FINAL: Final = frozenset({SUCCESS, ERROR, CANCELLED})

# A task may also be left out, by an operator, and it waits for the next attempt of its retry policy:
# DELAYED, or WAITING where it is a join.
TASK_FINAL: Final = MISTRAL_FINAL | {"SKIPPED"}
TASK_BETWEEN_ATTEMPTS: Final = frozenset({"DELAYED", "WAITING"})

# What the final status of a child means to the Mistral action that waits for it. A status that is
# not a key leaves the action RUNNING: PAUSED would pause the whole workflow, and Mistral does not
# resume it when the result comes.
MISTRAL_STATE: Final = {
    "succeeded": SUCCESS,
    "failed": ERROR,
    "timeout": ERROR,
    "abandoned": ERROR,
    "canceled": CANCELLED,
}

ST2_FINAL: Final = frozenset(MISTRAL_STATE)
ST2_UNFINISHED: Final = frozenset(
    {
        "requested",
        "scheduled",
        "delayed",
        "running",
        "canceling",
        "pending",
        "pausing",
        "paused",
        "resuming",
    }
)

# What a workflow author may write in st2.callback, in any case, and the status that StackStorm's
# parent execution gets.
_CALLBACK: Final = {
    "SUCCESS": "succeeded",
    "ERROR": "failed",
    "CANCELLED": "canceled",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMEOUT": "timeout",
    "ABANDONED": "abandoned",
    "CANCELED": "canceled",
}


def mistral_state(st2_status: str) -> str | None:
    """Mistral's final state for a child's status, or None while the child is not final."""
    return MISTRAL_STATE.get(st2_status)


def callback_status(state: object) -> str:
    """StackStorm's status for the state that a workflow reports.

    :param state: Mistral's or StackStorm's word for a final state, in any case.
    :raises InputError: for anything else; the text lists what is understood.
    """
    status = _CALLBACK.get(state.strip().upper()) if isinstance(state, str) else None
    if status is None:
        raise InputError(
            "state",
            f"{state!r:.80} is not a final state. Use SUCCESS, ERROR or CANCELLED"
            " (or StackStorm's succeeded, failed, timeout, abandoned, canceled).",
        )
    return status
