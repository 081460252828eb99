"""Test the reports that parents get of their workflows."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from typing import Any

import pytest
from support.relay import PARENT, SITE, WORKFLOW, Systems, child, workflow

from st2actions_mistral.bridge.parents.report import Reporter
from st2actions_mistral.errors import OutcomeUnknown

OTHER = "b" * 24
REVERSE = """
version: '2.0'
n:
  type: reverse
  tasks:
    first: {action: std.noop}
    last: {action: std.noop, requires: [first]}
"""
AD_HOC = """
version: '2.0'
ours: {base: st2.action}
"""


def task(id_: str = "t", name: str = "one", **given: Any) -> dict[str, Any]:
    return {"id": id_, "name": name, "type": "ACTION", "state": "ERROR", "result": "null", **given}


def tried_twice(*children: dict[str, Any], name: str = "st2.action", **given: Any) -> Systems:
    """Return a workflow with a task that was tried twice."""
    systems = Systems(*children)
    systems.mistral.tasks_by_workflow[WORKFLOW] = [task(**given)]
    systems.mistral.actions_by_task["t"] = [
        {"id": f"a-{number}", "name": name, "state": "RUNNING"} for number in (1, 2)
    ]
    systems.mistral.definitions["ours"] = AD_HOC
    systems.mistral.add_native("core.local")
    return systems


def report(systems: Systems, **given: Any) -> dict[str, Any]:
    reporter = Reporter(systems.st2, SITE)
    return reporter.report(workflow(state="SUCCESS", **given), systems.mistral)


def made_for(number: int, action: Any, site: str = SITE) -> dict[str, Any]:
    ids = {"action_execution_id": action, "workflow_execution_id": WORKFLOW}
    return child(f"c-{number}", PARENT, "canceled", site, **ids)


def test_three_tasks_are_read_at_once_and_keep_their_order() -> None:
    systems = Systems()
    names = [str(number) for number in range(6)]
    systems.mistral.tasks_by_workflow[WORKFLOW] = [task(name, name) for name in names]
    at_once = threading.Barrier(3)
    systems.mistral.hooks["get_task"] = lambda _: at_once.wait(10) and None
    assert [entry["name"] for entry in report(systems)["tasks"]] == names


def test_report_has_output_and_sub_workflows() -> None:
    systems = Systems(workflows=[workflow("w-sub", task="t")])
    systems.mistral.tasks_by_workflow[WORKFLOW] = [task(type="WORKFLOW", state="SUCCESS", result="{}")]
    found = report(systems, output='{"a": 1}')
    assert found["output"] == {"a": 1}
    assert found["tasks"][0]["workflow_execution_id"] == "w-sub"
    assert found["mistral"]["workflow_name"] == "n"


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ('{"task_name": "last"}', ["first", "last"]),
        ("{}", ["last", "first"]),
        ("[5]", ["last", "first"]),
    ],
)
def test_tasks_of_reverse_workflow_follow_what_they_require(params: str, names: list[str]) -> None:
    systems = Systems()
    systems.mistral.definitions["n"] = REVERSE
    systems.mistral.tasks_by_workflow[WORKFLOW] = [task("3", "last"), task("1", "first")]
    assert [entry["name"] for entry in report(systems, params=params)["tasks"]] == names


@pytest.mark.parametrize("name", ["st2.action", "ours", "core.local"])
def test_child_of_task_without_result_is_named(name: str) -> None:
    children = [made_for(1, "a-1"), made_for(2, "a-2"), made_for(3, "a-2")]
    systems = tried_twice(*children, name=name)
    asked: list[Any] = []
    systems.st2.hooks["children_of"] = lambda *given: asked.append(given)
    # Of two children of one action the first one counts.
    assert report(systems)["tasks"][0]["execution_id"] == "c-2"
    assert asked == [(WORKFLOW, {"below": PARENT})]


def test_children_after_rerun_are_listed_by_time() -> None:
    context = {"parent": {"execution_id": OTHER}}
    params = {"env": {"__actions": {"st2.callback": {"st2_context": context}}}}
    systems = tried_twice(made_for(1, "a-2"))
    asked: list[Any] = []
    systems.st2.hooks["children_of"] = lambda *given: asked.append(given)
    found = report(systems, params=json.dumps(params), created_at="2026-11-25 06:00:00")
    assert found["tasks"][0]["execution_id"] == "c-1"
    assert asked == [(WORKFLOW, {"since": datetime(2026, 11, 25, 6, tzinfo=timezone.utc)})]


@pytest.mark.parametrize(
    "systems",
    [
        tried_twice(made_for(1, "a-1"), name="std.noop"),
        tried_twice(made_for(1, "a-1"), result=json.dumps({"st2": {"execution_id": "c-0"}})),
    ],
    ids=["of another action", "named by the result"],
)
def test_children_are_listed_only_if_missing(systems: Systems) -> None:
    assert report(systems)["tasks"][0].get("execution_id") != "c-1"
    assert not systems.st2.requests


@pytest.mark.parametrize(
    "invalid",
    [
        {"id": "x", "status": "running", "context": {"mistral": {"workflow_execution_id": WORKFLOW}}},
        made_for(9, ["a-2"]),
        made_for(9, None),
        made_for(9, "a-2", "elsewhere"),
        made_for(9, "of another task"),
    ],
)
def test_invalid_context_makes_no_child(invalid: dict[str, Any]) -> None:
    assert "execution_id" not in report(tried_twice(invalid))["tasks"][0]
    assert report(tried_twice(invalid, made_for(1, "a-1")))["tasks"][0]["execution_id"] == "c-1"


@pytest.mark.parametrize("row", [{}, {"context": [1]}, {"context": {"mistral": "text"}}])
def test_row_without_context_makes_no_child(row: dict[str, Any]) -> None:
    systems = tried_twice()
    rows = [{"id": "x", "status": "running", **row}, made_for(1, "a-1")]
    systems.st2.children_of = lambda *_, **__: iter(rows)
    assert report(systems)["tasks"][0]["execution_id"] == "c-1"


def test_failed_listing_does_not_prevent_a_report() -> None:
    systems = tried_twice()

    def fail(*_: Any) -> None:
        raise OutcomeUnknown("GET", "x", "is larger than 67108864 bytes")

    systems.st2.hooks["children_of"] = fail
    assert report(systems)["tasks"][0]["name"] == "one"


def test_result_too_large_to_be_read_is_omitted() -> None:
    systems = Systems()
    systems.mistral.tasks_by_workflow[WORKFLOW] = [task(state="SUCCESS", result="x")]

    def fail(*_: Any) -> None:
        raise OutcomeUnknown("GET", "x", "is larger than 67108864 bytes")

    systems.mistral.hooks["get_task"] = fail
    (found,) = report(systems)["tasks"]
    assert (found["name"], found["state"]) == ("one", "SUCCESS")
    assert "too large" in str(found["result"])
