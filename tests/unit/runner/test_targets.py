"""Find the tasks of a re-run, also in sub-workflows."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import InputError
from st2actions_mistral.runner.request import Rerun
from st2actions_mistral.runner.targets import find_targets


def task(name: str, state: str = "ERROR", kind: str = "ACTION") -> dict[str, Any]:
    return {"id": f"t-{name}", "name": name, "state": state, "type": kind}


def sub(id_: str, state: str = "ERROR", index: int = 0) -> dict[str, Any]:
    return {"id": id_, "state": state, "params": json.dumps({"index": index})}


TASKS = {
    "main": [
        task("call", kind="WORKFLOW"),
        task("each", kind="WORKFLOW"),
        task("alone"),
        task("fine", "SUCCESS"),
        task("with.dots"),
        task("ok", "SUCCESS", "WORKFLOW"),
    ],
    "inner": [task("first", "SUCCESS"), task("flaky"), task("deep", kind="WORKFLOW")],
    "deepest": [task("flaky")],
    "one": [task("flaky")],
    "two": [task("flaky", "SUCCESS"), task("other")],
}
SUBS = {
    # The first attempt of a retried task does not count.
    "t-call": [sub("attempt"), sub("inner")],
    "t-each": [sub("attempt"), sub("one"), sub("two", index=1), sub("done", "SUCCESS", 2)],
    "t-deep": [sub("deepest")],
}


class Mistral:
    """A Mistral with these executions."""

    def tasks(self, workflow_execution_id: str) -> list[dict[str, Any]]:
        return TASKS[workflow_execution_id]

    def sub_executions(self, task_execution_id: str, fields: str) -> list[dict[str, Any]]:
        assert fields == "id,state,params"
        return SUBS[task_execution_id]


def found(*paths: str) -> list[tuple[str, str, list[str]]]:
    targets = find_targets(cast("MistralClient", Mistral()), Rerun("main", "x", paths))
    return [(target.path, target.task["id"], list(target.below)) for target in targets]


def test_task_of_the_workflow_itself_comes_first() -> None:
    assert found("call.flaky", "alone", "with.dots") == [
        ("alone", "t-alone", []),
        ("with.dots", "t-with.dots", []),
        ("call.flaky", "t-flaky", ["inner"]),
    ]


def test_path_leads_through_several_levels() -> None:
    assert found("call.deep.flaky") == [("call.deep.flaky", "t-flaky", ["inner", "deepest"])]


def test_path_through_items_leads_to_the_failed_ones() -> None:
    assert found("each.flaky") == [("each.flaky", "t-flaky", ["one"])]
    assert found("each.other") == [("each.other", "t-other", ["two"])]


def test_other_paths_are_named_with_all_that_are_possible() -> None:
    with pytest.raises(InputError) as caught:
        found("nope", "fine", "call.first", "call.nope", "ok.flaky", "alone.flaky", "alone")
    assert str(caught.value) == (
        "rerun_tasks: only tasks in ERROR can be re-run, but there is no task 'nope', fine is SUCCESS,"
        " call.first is SUCCESS, there is no task 'call.nope', there is no task 'ok.flaky', there is no"
        " task 'alone.flaky'. In ERROR: call, call.flaky, call.deep, call.deep.flaky, each, each.flaky,"
        " each.other, alone, with.dots."
    )


def test_sub_workflow_and_its_task_exclude_each_other() -> None:
    with pytest.raises(InputError, match=r"call starts its sub-workflow anew, so call\.flaky cannot"):
        found("call.flaky", "call")
