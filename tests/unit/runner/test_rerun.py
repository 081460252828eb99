"""Errors of a re-run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.dsl.calls import Catalogue
from st2actions_mistral.errors import InputError
from st2actions_mistral.model.links import DESCRIPTION, workflow_execution_id
from st2actions_mistral.runner.request import Rerun, WorkflowRequest
from st2actions_mistral.runner.starting import Starter

BEFORE = "6b03c160746e6986596007f7"
NEW = "6b03c160746e6986596007f8"
WORKFLOW = workflow_execution_id(BEFORE)


class Mistral:
    """A Mistral with one workflow execution."""

    def get_execution(self, id_: str) -> dict[str, Any]:
        return {
            "id": id_,
            "description": f"{DESCRIPTION}{BEFORE}",
            "workflow_name": "pack.name.main",
            "state": "SUCCESS",
        }


def test_error_explains_how_to_start_a_new_workflow() -> None:
    # StackStorm passes on the tasks of the execution that is re-run.
    rerun = Rerun(WORKFLOW, BEFORE, ["slow"])
    request = WorkflowRequest(NEW, "pack.name", Path("w.yaml"), rerun=rerun)
    starter = Starter(cast("MistralClient", Mistral()), cast("Catalogue", None), site="mistral")
    with pytest.raises(
        InputError, match=r"the workflow is SUCCESS, .* Give rerun_tasks=\[\] to start a new workflow\."
    ):
        starter.start(request)


class Nested:
    """A Mistral with a failed sub-workflow, which records what is changed."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, Any]] = []

    def scope(self) -> None:
        """Return None: there is no authentication."""

    def get_execution(self, id_: str) -> dict[str, Any]:
        context = {"parent": {"execution_id": BEFORE}, "notify": {"on-complete": {}}}
        env = {"__actions": {"st2.action": {"st2_context": context}}} if id_ != "foreign" else {}
        return {
            "id": id_,
            "description": f"{DESCRIPTION}{BEFORE}",
            "workflow_name": "pack.name.main",
            "state": "ERROR",
            "params": json.dumps({"env": env}),
        }

    def tasks(self, id_: str) -> list[dict[str, Any]]:
        names = ["call", "away", "alone"] if id_ == WORKFLOW else ["flaky"]
        kinds = {"call": "WORKFLOW", "away": "WORKFLOW"}
        rows = ((name, kinds.get(name, "ACTION")) for name in names)
        return [
            {"id": f"{id_}/{name}", "name": name, "state": "ERROR", "type": kind} for name, kind in rows
        ]

    def sub_executions(self, task_id: str, fields: str) -> list[dict[str, Any]]:
        return [{"id": "sub" if task_id.endswith("/call") else "foreign", "state": "ERROR"}]

    def update_environment(self, id_: str, env: dict[str, Any]) -> None:
        self.changes.append(("env", id_, env["st2_execution_id"]))

    def rerun_task(self, id_: str, *, reset: bool, env: dict[str, Any] | None) -> None:
        self.changes.append(("task", id_, env and env["st2_execution_id"]))


@pytest.mark.parametrize(
    ("paths", "changes"),
    [
        (["call.flaky"], [("env", "sub", NEW), ("env", WORKFLOW, NEW), ("task", "sub/flaky", None)]),
        (
            ["call.flaky", "alone"],
            [("env", "sub", NEW), ("task", f"{WORKFLOW}/alone", NEW), ("task", "sub/flaky", None)],
        ),
        # A workflow that was called without the environment has no parent, and gets none.
        (["away.flaky"], [("env", WORKFLOW, NEW), ("task", "foreign/flaky", None)]),
    ],
)
def test_environments_are_updated_before_anything_runs(
    paths: list[str], changes: list[tuple[str, str, Any]]
) -> None:
    mistral = Nested()
    starter = Starter(cast("MistralClient", mistral), cast("Catalogue", None), site="mistral")
    rerun = Rerun(WORKFLOW, BEFORE, paths)
    starter.start(WorkflowRequest(NEW, "pack.name", Path("w.yaml"), rerun=rerun))
    assert mistral.changes == changes
