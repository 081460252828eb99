from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("succeeded", "SUCCESS"),
        ("failed", "ERROR"),
        ("timeout", "ERROR"),
        ("abandoned", "ERROR"),
        ("canceled", "CANCELLED"),
    ],
)
def test_a_final_status_has_a_state(status: str, state: str) -> None:
    assert states.mistral_state(status) == state
    assert status in states.ST2_FINAL
    assert state in states.MISTRAL_FINAL


@pytest.mark.parametrize(
    "status",
    [
        "requested",
        "scheduled",
        "delayed",
        "running",
        "pending",
        "pausing",
        "paused",
        "resuming",
        "canceling",
    ],
)
def test_an_unfinished_status_leaves_the_action_running(status: str) -> None:
    assert states.mistral_state(status) is None
    assert status in states.ST2_UNFINISHED


def test_a_status_is_either_final_or_unfinished() -> None:
    assert not states.ST2_FINAL & states.ST2_UNFINISHED


def test_a_status_of_a_later_stackstorm_leaves_the_action_running() -> None:
    assert states.mistral_state("hibernating") is None


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
def test_a_workflow_may_use_the_words_of_both_systems_in_any_case(word: str, status: str) -> None:
    for spelled in (word, word.lower(), word.upper(), word.title(), f" {word}\n"):
        assert states.callback_status(spelled) == status


@pytest.mark.parametrize(
    "word", ["", "done", "RUNNING", "PAUSED", "requested", None, 0, True, ["ERROR"]]
)
def test_anything_else_is_refused_with_a_list_of_what_is_understood(word: Any) -> None:
    with pytest.raises(InputError) as caught:
        states.callback_status(word)
    assert caught.value.name == "state"
    understood = (
        "SUCCESS",
        "ERROR",
        "CANCELLED",
        "succeeded",
        "failed",
        "timeout",
        "abandoned",
        "canceled",
    )
    assert all(known in str(caught.value) for known in understood)


def test_a_very_long_state_is_not_repeated_in_full() -> None:
    with pytest.raises(InputError) as caught:
        states.callback_status("x" * 10_000)
    assert len(str(caught.value)) < 400
