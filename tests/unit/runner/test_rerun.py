"""Errors of a re-run."""

from __future__ import annotations

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
    request = WorkflowRequest("6b03c160746e6986596007f8", "pack.name", Path("w.yaml"), rerun=rerun)
    starter = Starter(cast("MistralClient", Mistral()), cast("Catalogue", None), site="mistral")
    with pytest.raises(
        InputError, match=r"the workflow is SUCCESS, .* Give rerun_tasks=\[\] to start a new workflow\."
    ):
        starter.start(request)
