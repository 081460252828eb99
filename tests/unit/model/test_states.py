from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states

# Every status of StackStorm, the sets that have it, and the final state of an action with such a child.
STATUSES: dict[str, tuple[set[str], str | None]] = {
    "requested": (set(), None),
    "scheduled": (set(), None),
    "delayed": (set(), None),
    "running": ({"WAITING", "STARTING"}, None),
    "pending": ({"UNCANCELABLE", "INACTIVE"}, None),
    "pausing": ({"WAITING", "STARTING"}, None),
    "paused": ({"WAITING", "INACTIVE"}, None),
    "resuming": ({"WAITING"}, None),
    "canceling": (
        {"WAITING", "STARTING", "STOPPING", "ENDING", "UNCANCELABLE", "REJECTING"},
        None,
    ),
    "canceled": ({"FINAL", "INACTIVE", "UNCANCELABLE", "STOPPING", "ENDING", "REJECTING"}, "CANCELLED"),
    "succeeded": ({"FINAL", "INACTIVE", "UNCANCELABLE", "ENDING"}, "SUCCESS"),
    "failed": ({"FINAL", "INACTIVE", "UNCANCELABLE", "ENDING", "REJECTING"}, "ERROR"),
    "timeout": ({"FINAL", "INACTIVE", "UNCANCELABLE", "ENDING"}, "ERROR"),
    "abandoned": ({"FINAL", "INACTIVE", "UNCANCELABLE", "ENDING"}, "ERROR"),
}
SETS = (
    "FINAL",
    "STOPPING",
    "ENDING",
    "WAITING",
    "STARTING",
    "REJECTING",
    "INACTIVE",
    "UNCANCELABLE",
)


@pytest.mark.parametrize("status", STATUSES)
def test_status_is_in_its_sets_only(status: str) -> None:
    sets, _ = STATUSES[status]
    assert {name for name in SETS if status in getattr(states, f"ST2_{name}")} == sets


def test_sets_have_no_other_status() -> None:
    for name in SETS:
        assert set(getattr(states, f"ST2_{name}")) <= set(STATUSES)


@pytest.mark.parametrize("status", STATUSES)
def test_mistral_state_of_a_status(status: str) -> None:
    _, state = STATUSES[status]
    assert states.mistral_state(status) == state
    assert state is None or state in states.MISTRAL_FINAL


def test_mistral_state_of_an_unknown_status_is_none() -> None:
    assert states.mistral_state("hibernating") is None


@pytest.mark.parametrize("state", sorted(states.MISTRAL_FINAL))
def test_st2_status_is_the_reverse_of_mistral_state(state: str) -> None:
    assert states.mistral_state(states.st2_status(state)) == state


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("SUCCESS", "succeeded"),
        ("ERROR", "failed"),
        ("CANCELLED", "canceled"),
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("timeout", "timeout"),
        ("abandoned", "abandoned"),
        ("canceled", "canceled"),
    ],
)
def test_callback_status_accepts_words_of_both_systems_in_any_case(word: str, status: str) -> None:
    for spelled in (word, word.lower(), word.upper(), word.title(), f" {word}\n"):
        assert states.callback_status(spelled) == status


@pytest.mark.parametrize(
    "word", ["", "done", "RUNNING", "PAUSED", "requested", None, 0, True, ["ERROR"]]
)
def test_callback_status_rejects_other_values_and_lists_the_valid_words(word: Any) -> None:
    with pytest.raises(InputError) as caught:
        states.callback_status(word)
    assert caught.value.name == "state"
    valid = ("SUCCESS", "ERROR", "CANCELLED", *states.ST2_FINAL)
    assert all(known in str(caught.value) for known in valid)


def test_callback_status_does_not_repeat_a_long_value() -> None:
    with pytest.raises(InputError) as caught:
        states.callback_status("x" * 10_000)
    assert len(str(caught.value)) < 400
