"""Test which ids above a workflow a trigger gets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from support.relay import no_access

from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.config import BridgeSettings
from st2actions_mistral.errors import NotSent
from st2actions_mistral.model.context import sign
from st2actions_mistral.model.project import NoAccess
from st2actions_mistral.notifier.events import Event
from st2actions_mistral.notifier.lineage import Lineage

ROOT, SUB = "11111111-a", "22222222-b"
PARENT = "6b03c160746e6986596007f7"
KEY = "hush"
SETTINGS = BridgeSettings(site="here", allowed_api_urls=("http://other/v1",))
SIGNED = replace(SETTINGS, context_keys=(KEY,))


class Mistral:
    """Stands in for ``MistralClient`` and ``ProjectClients``."""

    def __init__(self, *workflows: dict[str, Any]) -> None:
        self.workflows = {workflow["id"]: workflow for workflow in workflows}
        self.asked: Counter[str] = Counter()
        self.projects: list[str | None] = []
        self.refused: set[str | None] = set()
        self.fails = False

    @property
    def lister(self) -> Any:
        return self

    def access(self, project_id: str | None) -> Mistral | NoAccess:
        self.projects.append(project_id)
        return no_access(project_id) if project_id in self.refused else self

    def execution_summary(self, id_: str) -> dict[str, Any] | None:
        self.asked[id_] += 1
        if self.fails:
            raise NotSent("GET", "x", "refused")
        return self.workflows.get(id_)


def workflow(id_: str = ROOT, root: str | None = None, **context: Any) -> dict[str, Any]:
    env = {"__actions": {"st2.callback": {"st2_context": context}}}
    params = {"env": env if context else {}}
    return {"id": id_, "state": "RUNNING", "params": params, "root_execution_id": root}


def context(**more: Any) -> dict[str, Any]:
    return {"parent": {"execution_id": PARENT}, "workflow_execution_id": ROOT, **more}


def event(id_: str = ROOT, name: str = "TASK_FAILED", **given: Any) -> Event:
    found = Event.of(name, {"id": "t", "workflow_execution_id": id_, **given})
    assert found is not None
    return found


def lineage(mistral: Any, settings: BridgeSettings = SETTINGS, **given: Any) -> Lineage:
    return Lineage(mistral, settings, **given)


def test_workflow_of_stackstorm_names_its_parent() -> None:
    mistral = Mistral(workflow(**context()))
    found = lineage(mistral)
    for _ in range(3):
        assert found.of(event()) == (ROOT, PARENT)
    assert mistral.asked == {ROOT: 1}


def test_sub_workflow_has_the_parent_of_its_outermost_workflow() -> None:
    found = lineage(Mistral(workflow(**context()), workflow(SUB, ROOT)))
    assert found.of(event(SUB)) == (ROOT, PARENT)


@pytest.mark.parametrize("name", ["WORKFLOW_RERUN", "WORKFLOW_RESUMED"])
def test_parent_is_read_again_after_a_re_run(name: str) -> None:
    mistral = Mistral(workflow(**context()))
    found = lineage(mistral)
    found.of(event())
    mistral.workflows[ROOT] = workflow(**context(parent={"execution_id": "a" * 24}))
    assert found.of(event()) == (ROOT, PARENT)
    assert found.of(event(name=name)) == (ROOT, "a" * 24)


@pytest.mark.parametrize(
    "given",
    [
        context(),
        sign(context(), "another"),
        sign(context(workflow_execution_id=SUB), KEY),
        sign({"parent": {"execution_id": PARENT}}, KEY),
        sign(context(project_id="b"), KEY),
    ],
    ids=["unsigned", "other key", "other workflow", "unbound", "other project"],
)
def test_parent_that_is_not_signed_for_the_workflow_is_not_named(given: dict[str, Any]) -> None:
    mistral = Mistral({**workflow(**given), "project_id": "a"})
    assert lineage(mistral, SIGNED).of(event()) == (ROOT, None)


def test_signed_parent_is_named() -> None:
    given = sign(context(project_id="a"), KEY)
    mistral = Mistral({**workflow(**given), "project_id": "a"})
    assert lineage(mistral, SIGNED).of(event(project_id="a")) == (ROOT, PARENT)
    assert mistral.projects == ["a"]


@pytest.mark.parametrize("api_url", ["http://other/v1", "http://unknown/v1"])
def test_parent_in_another_stackstorm_is_not_named(api_url: str) -> None:
    found = lineage(Mistral(workflow(**context(api_url=api_url))))
    assert found.of(event()) == (ROOT, None)
    own = lineage(Mistral(workflow(**context(api_url=St2Settings().api_url))))
    assert own.of(event()) == (ROOT, PARENT)


@pytest.mark.parametrize("value", [None, 5, [], {"parent": 5}, {"parent": {"execution_id": "x"}}])
def test_context_of_any_shape_names_no_parent(value: object) -> None:
    env = {"__actions": {"st2.callback": {"st2_context": value}}}
    mistral = Mistral({**workflow(), "params": {"env": env}})
    assert lineage(mistral).of(event()) == (ROOT, None)


def test_what_mistral_does_not_show_is_unknown_and_not_remembered() -> None:
    mistral = Mistral()
    found = lineage(mistral)
    assert found.of(event()) == (None, None)
    of_workflow = Event.of("WORKFLOW_FAILED", {"id": SUB, "root_execution_id": ROOT})
    assert of_workflow is not None
    assert found.of(of_workflow) == (ROOT, None)
    of_root = Event.of("WORKFLOW_FAILED", {"id": ROOT})
    assert of_root is not None
    assert found.of(of_root) == (ROOT, None)
    mistral.workflows[ROOT] = workflow(**context())
    assert found.of(event()) == (ROOT, PARENT)


def test_failure_of_mistral_does_not_keep_the_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    mistral = Mistral(workflow(**context()))
    mistral.fails = True
    assert lineage(mistral).of(event()) == (None, None)
    assert f"An event of workflow execution {ROOT} names no parent execution: GET x" in caplog.text


def test_administrator_reads_a_project_without_access() -> None:
    mistral = Mistral(workflow(**context()))
    mistral.refused.add("a")
    assert lineage(mistral).of(event(project_id="a")) == (ROOT, PARENT)


def test_number_of_remembered_workflows_is_bounded() -> None:
    mistral = Mistral(*(workflow(f"w{number}") for number in range(4)))
    found = lineage(mistral, limit=2)
    for number in (0, 1, 2, 3, 3, 2, 0):
        found.of(event(f"w{number}"))
    assert mistral.asked == {"w0": 2, "w1": 1, "w2": 1, "w3": 1}
