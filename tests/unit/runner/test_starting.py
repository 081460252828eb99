"""What Mistral answers to a start is believed only where it is that start's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from st2actions_mistral.errors import InputError, OutcomeUnknown
from st2actions_mistral.model.context import sign
from st2actions_mistral.model.workflow import workflow_execution_id
from st2actions_mistral.runner.environment import environment
from st2actions_mistral.runner.request import Request
from st2actions_mistral.runner.starting import Starter, failure

ID, OTHER = "6b03c160746e6986596007f7", "6b03c160746e6986596007f8"
WORKFLOW = workflow_execution_id(ID)
KEY = "canary"


class Mistral:
    """Instead of its client: a start with an id that is taken answers with what has it."""

    def __init__(self, **there: Any) -> None:
        self.there: dict[str, Any] | None = there or None
        self.starts = 0

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
                # As Mistral shows it.
                "params": json.dumps({"env": given["env"], "evaluate_env": False}),
            }
        return self.there


class Catalogue:
    def parameters(self, ref: str) -> None:
        return None

    def in_mistral(self, name: str) -> bool:
        return True

    def workflow_in_mistral(self, name: str) -> bool:
        return True


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    path = tmp_path / "name.yaml"
    path.write_text("version: '2.0'\npack.name:\n  tasks:\n    run: {action: std.noop}\n")
    return Request(ID, "pack.name", path, user="stanley")


def starter(mistral: Mistral, key: str | None) -> Starter:
    client: Any = mistral
    return Starter(client, Catalogue(), site="here", context_key=key)


def theirs(env: Any = None, **given: Any) -> Mistral:
    """One with a workflow under our id that somebody else has started."""
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
        Request(ID, "pack.name", Path(), user="stanley"), workflow, api_url=None, context_key=key
    )


def refused(mistral: Mistral, asked: Request, key: str | None) -> str:
    with pytest.raises(InputError, match=f"workflow execution {WORKFLOW}") as caught:
        starter(mistral, key).start(asked)
    # The relay is not told to cancel it, as one of which nobody knows whether it is ours.
    assert failure(caught.value, ID) == {"error": str(caught.value)}
    return str(caught.value)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_start_that_is_repeated_finds_its_own(asked: Request, key: str | None) -> None:
    mistral = Mistral()
    started = starter(mistral, key).start(asked)
    assert started.workflow.execution_id == WORKFLOW
    assert starter(mistral, key).start(asked) == started
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
def test_a_workflow_of_somebody_else_is_not_taken_for_ours(
    asked: Request, key: str | None, other: dict[str, Any]
) -> None:
    said = refused(theirs(signed(KEY), **other), asked, key)
    assert repr(other.get("workflow_name", "pack.name")) in said
    assert "Run the action again" in said
    assert KEY not in said


UNSIGNED = environment(Request(ID, "pack.name", Path()), WORKFLOW, api_url=None, context_key=None)


def without(action: str) -> dict[str, Any]:
    """Only the other action's context is signed."""
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
def test_with_a_key_what_is_not_signed_for_it_is_not_ours_either(asked: Request, env: Any) -> None:
    refused(theirs(env), asked, KEY)
    # Everybody may write what there is without one.
    assert starter(theirs(env), None).start(asked).workflow.execution_id == WORKFLOW


@pytest.mark.parametrize("params", [None, "", "no JSON", "[]", {"env": []}])
def test_params_of_any_shape_may_come(asked: Request, params: Any) -> None:
    refused(theirs(params=params), asked, KEY)


def test_one_that_was_run_again_for_another_execution_is_ours_yet(asked: Request) -> None:
    """Its environment names the other one; it was started here all the same."""
    request = Request(OTHER, "pack.name", Path())
    again = environment(request, WORKFLOW, api_url=None, context_key=KEY, before=signed(KEY))
    assert starter(theirs(again), KEY).start(asked).workflow.execution_id == WORKFLOW


LOST = OutcomeUnknown("POST", "x", "no answer in 30 s")
TROUBLE = OutcomeUnknown("POST", "x", "500 Internal Server Error", status=500)


@pytest.mark.parametrize(
    ("call", "error", "unknown"),
    [
        ("definition", LOST, False),
        ("save_definition", LOST, False),
        ("start_workflow", LOST, True),
    ],
)
def test_only_a_start_can_be_in_doubt(
    asked: Request, monkeypatch: pytest.MonkeyPatch, call: str, error: Exception, unknown: bool
) -> None:
    """The relay looks for what may have begun, and only where something may have."""
    mistral = Mistral()

    def fails(*args: Any, **more: Any) -> Any:
        raise error

    monkeypatch.setattr(mistral, call, fails)
    with pytest.raises(OutcomeUnknown) as caught:
        starter(mistral, None).start(asked)
    result = failure(caught.value, ID)
    assert result["error"] == "POST x: no answer in 30 s"
    assert result.get("mistral", {}).get("start") == ("unknown" if unknown else None)


def test_a_text_that_mistral_can_make_nothing_of(
    asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistral = Mistral()

    def fails(*args: Any, **more: Any) -> Any:
        raise TROUBLE

    monkeypatch.setattr(mistral, "save_definition", fails)
    with pytest.raises(InputError, match=r"pack\.name: Mistral refuses it: it answers 500"):
        starter(mistral, None).start(asked)
    assert mistral.starts == 0
