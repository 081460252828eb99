from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.errors import Answered
from st2actions_mistral.model.links import WorkflowRef, workflow_execution_id
from st2actions_mistral.runner import control

ID, OTHER = "6b03c160746e6986596007f7", "6b03c160746e6986596007f8"
OWN, NAMED = workflow_execution_id(ID), "w-1"


class Mistral:
    """Stands in for MistralClient, and records which workflows are changed."""

    def __init__(self, owner: str) -> None:
        context = {"parent": {"execution_id": owner}}
        env = {"__actions": {"st2.callback": {"st2_context": context}}}
        self.workflow = {"id": NAMED, "state": "RUNNING", "params": {"env": env}}
        self.known = True
        self.changed: list[str] = []
        self.states: set[str] = set()

    def execution_summary(self, id_: str) -> Any:
        return self.workflow if id_ == NAMED else None

    def resume(self, id_: str) -> Any:
        return self.change_state(id_, state="RUNNING")

    def change_state(self, id_: str, *, state: str) -> Any:
        if not self.known:
            raise Answered("PUT", "x", 404, "no")
        self.changed.append(id_)
        self.states.add(state)
        return {"id": id_, "state": state}


def cancelled(owner: str, context: object) -> list[str]:
    mistral = Mistral(owner)
    assert control.cancel(mistral, ID, context) == {"CANCELLED"}
    return mistral.changed


def test_cancel_cancels_the_workflow_of_the_execution() -> None:
    assert cancelled(ID, {}) == [OWN]


def test_cancel_cancels_the_workflow_of_a_rerun() -> None:
    assert cancelled(ID, WorkflowRef("here", NAMED, "n").as_context({})) == [OWN, NAMED]


def test_cancel_ignores_a_forged_workflow() -> None:
    # Whoever may create an execution can write any workflow into its context.
    assert cancelled(OTHER, WorkflowRef("here", NAMED, "n").as_context({})) == [OWN]
    assert cancelled(ID, WorkflowRef("here", "gone", "n").as_context({})) == [OWN]


@pytest.mark.parametrize(("change", "state"), [(control.pause, "PAUSED"), (control.resume, "RUNNING")])
def test_pause_and_resume_change_the_same_workflows(change: Any, state: str) -> None:
    mistral = Mistral(ID)
    assert change(mistral, ID, WorkflowRef("here", NAMED, "n").as_context({})) == {state}
    assert (mistral.changed, mistral.states) == ([OWN, NAMED], {state})


def test_unknown_workflow_has_no_state() -> None:
    mistral = Mistral(ID)
    mistral.known = False
    assert control.cancel(mistral, ID, {}) == set()
