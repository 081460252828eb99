"""A start accepts only the workflow execution that it created."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from st2actions_mistral.errors import InputError, OutcomeUnknown
from st2actions_mistral.model.context import is_signed, sign
from st2actions_mistral.model.links import workflow_execution_id
from st2actions_mistral.model.project import Scope
from st2actions_mistral.runner.environment import environment
from st2actions_mistral.runner.request import WorkflowRequest
from st2actions_mistral.runner.starting import Starter, failure

ID, OTHER = "6b03c160746e6986596007f7", "6b03c160746e6986596007f8"
WORKFLOW = workflow_execution_id(ID)
KEY = "canary"


class Mistral:
    """Stands in for MistralClient: a start with a known id returns the workflow that has it."""

    def __init__(self, **there: Any) -> None:
        self.there: dict[str, Any] | None = there or None
        self.starts = 0
        self.token: Scope | None = None

    def scope(self) -> Scope | None:
        return self.token

    def knows_action(self, name: str) -> bool:
        return True

    def definition(self, name: str, kind: str) -> str | None:
        return None

    def save_definition(self, definition: str, kind: str) -> None:
        pass

    def start_workflow(self, name: str, inputs: Any, **given: Any) -> dict[str, Any]:
        self.starts += 1
        if self.there is None:
            self.there = {
                "id": given["execution_id"],
                "state": "RUNNING",
                "workflow_name": name,
                "description": given["description"],
                # JSON in a string, as Mistral shows it.
                "params": json.dumps({"env": given["env"], "evaluate_env": False}),
            }
        return self.there


class Catalogue:
    def action(self, ref: str) -> None:
        return None

    def in_mistral(self, name: str) -> bool:
        return True

    def is_native(self, name: str) -> bool:
        return False

    def workflow_in_mistral(self, name: str) -> bool:
        return True

    def allows_yaql(self) -> bool:
        return True


@pytest.fixture
def start_request(tmp_path: Path) -> WorkflowRequest:
    path = tmp_path / "name.yaml"
    path.write_text("version: '2.0'\npack.name:\n  tasks:\n    run: {action: std.noop}\n")
    return WorkflowRequest(ID, "pack.name", path, user="stanley")


def starter(mistral: Mistral, key: str | None) -> Starter:
    client: Any = mistral
    return Starter(client, Catalogue(), site="here", context_key=key)


def another(env: Any = None, **given: Any) -> Mistral:
    """Return a Mistral with a workflow under our id that another client started."""
    row = {
        "id": WORKFLOW,
        "state": "RUNNING",
        "workflow_name": "pack.name",
        "description": f"StackStorm execution {ID}",
        "params": json.dumps({"env": env}),
    }
    return Mistral(**{**row, **given})


def signed(key: str, workflow: str = WORKFLOW) -> dict[str, Any]:
    return environment(
        WorkflowRequest(ID, "pack.name", Path(), user="stanley"),
        workflow,
        api_url=None,
        context_key=key,
    )


def rejected(mistral: Mistral, start_request: WorkflowRequest, key: str | None) -> str:
    with pytest.raises(InputError, match=f"workflow execution {WORKFLOW}") as caught:
        starter(mistral, key).start(start_request)
    # No "start": "unknown", which would make the relay cancel the workflow.
    assert failure(caught.value, ID) == {"error": str(caught.value)}
    return str(caught.value)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_repeated_start_finds_its_workflow(start_request: WorkflowRequest, key: str | None) -> None:
    mistral = Mistral()
    started = starter(mistral, key).start(start_request)
    assert started.workflow.execution_id == WORKFLOW
    assert starter(mistral, key).start(start_request) == started
    assert mistral.starts == 2


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize(
    "other",
    [
        {"workflow_name": "evil"},
        {"workflow_name": None},
        {"description": f"StackStorm execution {OTHER}"},
        {"description": None},
    ],
)
def test_another_workflow_with_the_same_id_is_rejected(
    start_request: WorkflowRequest, key: str | None, other: dict[str, Any]
) -> None:
    said = rejected(another(signed(KEY), **other), start_request, key)
    assert repr(other.get("workflow_name", "pack.name")) in said
    assert "Run the action again" in said
    assert KEY not in said


UNSIGNED = environment(
    WorkflowRequest(ID, "pack.name", Path()), WORKFLOW, api_url=None, context_key=None
)


def without(action: str) -> dict[str, Any]:
    """Return an environment in which the context of one action is not signed."""
    given = {**signed(KEY)["__actions"], action: UNSIGNED["__actions"][action]}
    return {"__actions": given}


@pytest.mark.parametrize(
    "env",
    [
        None,
        "name",
        UNSIGNED,
        signed("another key"),
        signed(KEY, workflow_execution_id(OTHER)),
        without("st2.action"),
        without("st2.callback"),
        {"__actions": {"st2.callback": {"st2_context": sign({}, KEY)}}},
    ],
)
def test_with_a_key_an_unsigned_environment_is_rejected(
    start_request: WorkflowRequest, env: Any
) -> None:
    rejected(another(env), start_request, KEY)
    # Without a key there is no signature to check.
    assert starter(another(env), None).start(start_request).workflow.execution_id == WORKFLOW


@pytest.mark.parametrize("params", [None, "", "no JSON", "[]", {"env": []}])
def test_invalid_params_are_rejected(start_request: WorkflowRequest, params: Any) -> None:
    rejected(another(params=params), start_request, KEY)


def test_a_workflow_that_was_rerun_for_another_execution_is_accepted(
    start_request: WorkflowRequest,
) -> None:
    # Its environment names the other execution, but this one started it.
    request = WorkflowRequest(OTHER, "pack.name", Path())
    again = environment(request, WORKFLOW, api_url=None, context_key=KEY, before=signed(KEY))
    assert starter(another(again), KEY).start(start_request).workflow.execution_id == WORKFLOW


LOST = OutcomeUnknown("POST", "x", "no answer in 30 s")
SERVER_ERROR = OutcomeUnknown("POST", "x", "500 Internal Server Error", status=500)


@pytest.mark.parametrize(
    ("call", "error", "unknown"),
    [
        ("definition", LOST, False),
        ("save_definition", LOST, False),
        ("start_workflow", LOST, True),
    ],
)
def test_only_a_start_has_an_unknown_outcome(
    start_request: WorkflowRequest,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    error: Exception,
    unknown: bool,
) -> None:
    mistral = Mistral()

    def fails(*args: Any, **more: Any) -> Any:
        raise error

    monkeypatch.setattr(mistral, call, fails)
    with pytest.raises(OutcomeUnknown) as caught:
        starter(mistral, None).start(start_request)
    result = failure(caught.value, ID)
    assert result["error"] == "POST x: no answer in 30 s"
    assert result.get("mistral", {}).get("start") == ("unknown" if unknown else None)


def test_failure_has_a_state_in_the_layout_of_stackstorm_3_2() -> None:
    error = InputError("pack.name", f"line 3: {'x' * 3000}")
    result = failure(error, ID, "st2mistral")
    assert result["error"] == str(error)
    assert result["extra"]["state"] == "ERROR"
    assert result["extra"]["state_info"].startswith("pack.name: line 3: xxx")
    assert len(result["extra"]["state_info"]) < 2100


def test_a_500_for_a_definition_is_an_input_error(
    start_request: WorkflowRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistral = Mistral()

    def fails(*args: Any, **more: Any) -> Any:
        raise SERVER_ERROR

    monkeypatch.setattr(mistral, "save_definition", fails)
    with pytest.raises(InputError, match=r"pack\.name: Mistral rejects it: it answers 500"):
        starter(mistral, None).start(start_request)
    assert mistral.starts == 0


@pytest.mark.parametrize("key", [None, KEY])
def test_contexts_are_for_the_project_of_the_token(
    start_request: WorkflowRequest, key: str | None
) -> None:
    mistral = Mistral()
    mistral.token = Scope("p")
    starter(mistral, key).start(start_request)
    assert mistral.there is not None
    env = json.loads(mistral.there["params"])["env"]
    for defaults in env["__actions"].values():
        assert defaults["st2_context"]["project_id"] == "p"
        assert is_signed(defaults["st2_context"], KEY) == bool(key)


@pytest.mark.parametrize(("shown", "expected"), [("p", "p"), ("<default-project>", None), (None, None)])
def test_started_workflow_has_its_project(
    start_request: WorkflowRequest, shown: str | None, expected: str | None
) -> None:
    mistral = Mistral()
    starter(mistral, None).start(start_request)
    assert mistral.there is not None
    mistral.there["project_id"] = shown
    started = starter(mistral, None).start(start_request)
    assert started.workflow.project_id == expected
    assert "project_id" not in started.result()["mistral"]
