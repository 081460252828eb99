from __future__ import annotations

from typing import Any

from st2actions_mistral.model.links import WorkflowRef, workflow_execution_id
from st2actions_mistral.runner import control

ID, OTHER = "6b03c160746e6986596007f7", "6b03c160746e6986596007f8"
OWN, NAMED = workflow_execution_id(ID), "w-1"


class Mistral:
    """Stands in for MistralClient, and records which workflows are cancelled."""

    def __init__(self, owner: str) -> None:
        context = {"parent": {"execution_id": owner}}
        env = {"__actions": {"st2.callback": {"st2_context": context}}}
        self.workflow = {"id": NAMED, "state": "RUNNING", "params": {"env": env}}
        self.cancelled: list[str] = []

    def get_execution(self, id_: str) -> Any:
        return self.workflow if id_ == NAMED else None

    def change_state(self, id_: str, state: str) -> Any:
        assert state == "CANCELLED"
        self.cancelled.append(id_)
        return {"id": id_, "state": state}


def cancelled(owner: str, context: object) -> list[str]:
    mistral = Mistral(owner)
    control.cancel_for(mistral, ID, context)  # type: ignore[arg-type]
    return mistral.cancelled


def test_cancel_for_cancels_the_workflow_of_the_execution() -> None:
    assert cancelled(ID, {}) == [OWN]


def test_cancel_for_cancels_the_workflow_of_a_rerun() -> None:
    assert cancelled(ID, WorkflowRef("here", NAMED, "n").as_context()) == [OWN, NAMED]


def test_cancel_for_ignores_a_forged_workflow() -> None:
    # Whoever may create an execution can write any workflow into its context.
    assert cancelled(OTHER, WorkflowRef("here", NAMED, "n").as_context()) == [OWN]
    assert cancelled(ID, WorkflowRef("here", "gone", "n").as_context()) == [OWN]
