"""What a comparison of parents and workflows finds, and what a closer look does. Stand-ins of the two
clients say what there is."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from st2actions_mistral.errors import OutcomeUnknown
from st2actions_mistral.model.project import Scope
from st2actions_mistral.model.workflow import WorkflowRef, workflow_execution_id
from st2actions_mistral.relay import parents
from st2actions_mistral.relay.parent_view import ParentView

FIRST, SECOND = "a" * 24, "b" * 24
W1, W2 = workflow_execution_id(FIRST), workflow_execution_id(SECOND)


def parent(id_: str, workflow: str, status: str = "running", site: str = "here") -> dict[str, Any]:
    return {"id": id_, "status": status, "context": WorkflowRef(site, workflow, "n").as_context()}


def workflow(id_: str, for_: str, state: str = "RUNNING", root: str | None = None) -> dict[str, Any]:
    return {
        "id": id_,
        "state": state,
        "workflow_name": "n",
        "description": f"StackStorm execution {for_}",
        "root_execution_id": root,
        "params": "{}",
    }


class Systems:
    """Instead of both clients."""

    token: Scope | None = None

    def __init__(self, executions: list[Any], workflows: list[Any]) -> None:
        self.executions = {row["id"]: row for row in executions}
        self.workflows = {row["id"]: row for row in workflows}
        self.asked_status_of: set[str] = set()

    def parents(self, site: str) -> Any:
        finals = ("succeeded", "failed", "canceled")
        return [row for row in self.executions.values() if row["status"] not in finals]

    def nameless_parents(self) -> Any:
        return [row for row in self.executions.values() if row.get("runner")]

    def statuses(self, ids: Any) -> list[tuple[str, str]]:
        self.asked_status_of |= set(ids)
        return [(id_, self.executions[id_]["status"]) for id_ in ids if id_ in self.executions]

    def unfinished_executions(self) -> Any:
        return [row for row in self.workflows.values() if row["state"] == "RUNNING"]

    def scope(self) -> Scope | None:
        return self.token

    def get_execution(self, id_: str) -> Any:
        return self.workflows.get(id_) or self.executions.get(id_)

    def execution_state(self, id_: str) -> str | None:
        found = self.workflows.get(id_)
        return str(found["state"]) if found else None

    def tasks(self, id_: str) -> list[Any]:
        return [{"id": "t", "name": "below", "type": "WORKFLOW", "state": "SUCCESS"}]

    def get_task(self, id_: str) -> Any:
        return None if id_ == "gone" else {**self.tasks("")[0], "result": "{}"}

    def sub_executions(self, id_: str) -> Any:
        return [{"id": "w-sub", "state": "SUCCESS"}]


def view(executions: list[Any], workflows: list[Any]) -> ParentView:
    systems = Systems(executions, workflows)
    return ParentView(systems, systems, "here")  # type: ignore[arg-type]


def test_a_parent_whose_workflow_is_at_work_is_in_no_doubt() -> None:
    listed = view([parent(FIRST, W1)], [workflow(W1, FIRST)]).listed()
    assert listed.waiting == {FIRST: W1}
    assert not listed.doubtful
    assert not listed.leftover


@pytest.mark.parametrize(
    "workflows", [[], [workflow(W1, FIRST, "SUCCESS")], [workflow(W1, FIRST, "CANCELLED")]]
)
def test_a_parent_whose_workflow_has_ended_or_is_gone_is(workflows: list[Any]) -> None:
    assert view([parent(FIRST, W1)], workflows).listed().doubtful == {FIRST}


@pytest.mark.parametrize("status", ["canceling", "canceled", "failed"])
def test_a_workflow_whose_parent_has_ended_before_is(status: str) -> None:
    assert view([parent(FIRST, W1, status)], [workflow(W1, FIRST)]).listed().doubtful == {FIRST}


def test_one_that_was_cancelled_before_it_named_its_workflow_is() -> None:
    nameless = {"id": FIRST, "status": "canceled", "context": {}}
    assert view([nameless], [workflow(W1, FIRST)]).listed().doubtful == {FIRST}


@pytest.mark.parametrize("executions", [[], [{"id": FIRST, "status": "succeeded", "context": {}}]])
def test_one_whose_word_stands_or_that_is_gone_is_not(executions: list[Any]) -> None:
    assert not view(executions, [workflow(W1, FIRST)]).listed().doubtful


def test_a_workflow_for_what_is_no_execution_keeps_no_other_from_being_looked_at() -> None:
    """Whoever may start workflows in Mistral chooses both id and description."""
    name = "x" * 70_000
    strangers = workflow(workflow_execution_id(name), name)
    systems = Systems([parent(FIRST, W1, "canceled")], [strangers, workflow(W1, FIRST)])
    listed = ParentView(systems, systems, "here").listed()  # type: ignore[arg-type]
    assert systems.asked_status_of == {FIRST}
    assert listed.doubtful == {FIRST}


def test_a_workflow_that_was_run_again_is_not() -> None:
    again = [parent(FIRST, W1, "canceled"), parent(SECOND, W1)]
    assert not view(again, [workflow(W1, FIRST)]).listed().doubtful


def test_other_sites_are_not_ours() -> None:
    listed = view([parent(FIRST, W1, site="elsewhere")], []).listed()
    assert not listed.waiting
    assert not listed.doubtful


def test_a_sub_workflow_that_began_too_late_is_left_over() -> None:
    sub = {**workflow("sub", "x", root=W1), "description": "sub-workflow execution"}
    for state, found in (("CANCELLED", {"sub"}), ("ERROR", set()), ("RUNNING", set())):
        assert view([], [workflow(W1, FIRST, state), sub]).listed().leftover == found
    others = {**workflow(W1, FIRST, "CANCELLED"), "description": "somebody's"}
    assert not view([], [others, sub]).listed().leftover
    assert not view([], [sub]).listed().leftover


def test_a_sub_workflow_of_another_project_is_not_left_over(caplog: pytest.LogCaptureFixture) -> None:
    root = workflow(W1, FIRST, "CANCELLED")
    below = [{**workflow(f"w-{project}", "", root=W1), "project_id": project} for project in ("a", "b")]
    systems = Systems([], [root, *below])
    systems.token = Scope("a")
    looking = ParentView(systems, systems, "here")  # type: ignore[arg-type]
    assert looking.listed().leftover == {"w-a"}
    assert "project 'b'. First seen at workflow execution w-b" in caplog.text


def test_a_look_at_one_that_runs_needs_no_owner() -> None:
    systems = Systems([parent(FIRST, W1)], [workflow(W1, FIRST)])
    seen = ParentView(systems, systems, "here").look(FIRST)  # type: ignore[arg-type]
    assert (seen.parent, seen.workflow) == (systems.executions[FIRST], systems.workflows[W1])
    assert seen.owner is None


def test_a_look_at_one_that_is_cancelled_asks_for_whom_the_workflow_runs() -> None:
    context = {"parent": {"execution_id": SECOND}}
    params = {"env": {"__actions": {"st2.callback": {"st2_context": context}}}}
    again = {**workflow(W1, FIRST), "params": json.dumps(params)}
    executions = [parent(FIRST, W1, "canceled"), parent(SECOND, W1)]
    seen = view(executions, [again]).look(FIRST)
    # What becomes of that one counts.
    assert seen.parent == executions[1]
    executions = [parent(FIRST, W1, "canceled"), parent(SECOND, W1, "canceled")]
    seen = view(executions, [again]).look(FIRST)
    assert seen.parent == seen.owner == executions[1]
    seen = view([parent(FIRST, W1, "canceled")], [again]).look(FIRST)
    assert seen.owner is None


def test_a_stranger_that_names_a_workflow_does_not_keep_it_at_work() -> None:
    """Whoever may POST executions to StackStorm writes any context, that of a re-run too."""
    stranger = parent(SECOND, W1)
    stranger["context"]["re-run"] = {"ref": FIRST}
    looking = view([parent(FIRST, W1, "canceled"), stranger], [workflow(W1, FIRST)])
    effect = parents.settle(looking.look(FIRST), "here", 600)
    assert effect == parents.Stop(W1, f"StackStorm execution {FIRST} is canceled")


def test_a_look_finds_the_workflow_of_one_that_names_none() -> None:
    seen = view([{"id": FIRST, "status": "canceled", "context": {}}], [workflow(W1, FIRST)]).look(FIRST)
    assert seen.workflow
    assert seen.owner == seen.parent


def test_a_look_at_nothing_sees_nothing() -> None:
    seen = view([], []).look(FIRST)
    assert seen.parent is None


def test_a_report_names_what_is_below() -> None:
    report = view([], []).report({**workflow(W1, FIRST, "SUCCESS"), "output": '{"a": 1}'})
    assert report["output"] == {"a": 1}
    assert report["tasks"][0]["workflow_execution_id"] == "w-sub"
    assert report["mistral"]["workflow_name"] == "n"


def test_tasks_of_a_reverse_workflow_come_after_what_they_require() -> None:
    class Reverse(Systems):
        def tasks(self, id_: str) -> list[Any]:
            rows = [("3", "last"), ("1", "first")]
            return [{"id": id_, "name": name, "type": "WORKFLOW"} for id_, name in rows]

        def get_task(self, id_: str) -> Any:
            return None

        def definition(self, name: str, kind: str) -> str:
            assert (name, kind) == ("n", "workflow")
            return "n: {type: reverse, tasks: {last: {requires: first}, first: {}}}"

    systems = Reverse([], [])
    looking = ParentView(systems, systems, "here")  # type: ignore[arg-type]
    done = {**workflow(W1, FIRST, "SUCCESS"), "output": "{}"}
    for params, names in (
        ('{"task_name": "last"}', ["first", "last"]),
        ("{}", ["last", "first"]),
        ("[5]", ["last", "first"]),
    ):
        tasks = looking.report({**done, "params": params})["tasks"]
        assert [task["name"] for task in tasks] == names


class Tried(Systems):
    """A workflow with a task that was tried twice and has no result."""

    def __init__(self, children: list[Any], name: str = "st2.action", result: Any = None) -> None:
        super().__init__([], [])
        self.children, self.name, self.result = children, name, result
        self.asked: list[Any] = []

    def tasks(self, id_: str) -> list[Any]:
        return [{"id": "t", "name": "one", "type": "ACTION", "state": "ERROR"}]

    def get_task(self, id_: str) -> Any:
        return {**self.tasks("")[0], "result": json.dumps(self.result)}

    def attempts(self, id_: str) -> list[Any]:
        return [{"id": f"a-{n}", "name": self.name, "state": "RUNNING"} for n in (1, 2)]

    def action_definition(self, name: str) -> str | None:
        return "ours: {base: st2.action}" if name == "ours" else None

    def children_of(self, id_: str, **given: Any) -> Any:
        self.asked.append((id_, given))
        yield from self.children

    def report(self, **given: Any) -> dict[str, Any]:
        again = ParentView(self, self, "here")  # type: ignore[arg-type]
        (task,) = again.report({**workflow(W1, FIRST, "ERROR"), "output": "{}", **given})["tasks"]
        return dict(task)


def made_for(number: int, action: Any, site: str = "here") -> dict[str, Any]:
    ids = {"site": site, "action_execution_id": action, "workflow_execution_id": W1}
    return {"id": f"c-{number}", "status": "canceled", "context": {"mistral": ids}}


@pytest.mark.parametrize("name", ["st2.action", "ours"])
def test_a_report_names_the_child_of_a_task_without_a_result(name: str) -> None:
    systems = Tried([made_for(1, "a-1"), made_for(2, "a-2"), made_for(3, "a-2")], name)
    # Of two children of one action the first one counts.
    assert systems.report()["execution_id"] == "c-2"
    assert systems.asked == [(W1, {"below": FIRST})]


def test_after_a_run_again_the_children_are_below_several() -> None:
    context = {"parent": {"execution_id": SECOND}}
    params = {"env": {"__actions": {"st2.callback": {"st2_context": context}}}}
    systems = Tried([made_for(1, "a-2")])
    found = systems.report(params=json.dumps(params), created_at="2026-11-25 06:00:00")
    assert found["execution_id"] == "c-1"
    since = datetime(2026, 11, 25, 6, tzinfo=timezone.utc)
    assert systems.asked == [(W1, {"since": since})]


def test_children_are_asked_for_only_where_some_are_wanted() -> None:
    for systems in (
        Tried([made_for(1, "a-1")], "std.noop"),
        Tried([made_for(1, "a-1")], result={"st2": {"execution_id": "c-0"}}),
    ):
        assert systems.report().get("execution_id") != "c-1"
        assert not systems.asked


@pytest.mark.parametrize(
    "strange",
    [
        {"id": "x", "status": "running"},
        {"id": "x", "status": "running", "context": [1]},
        {"id": "x", "status": "running", "context": {"mistral": "text"}},
        made_for(9, ["a-2"]),
        made_for(9, None),
        made_for(9, "a-2", "elsewhere"),
        made_for(9, "of another task"),
    ],
)
def test_no_context_of_a_strangers_makes_a_child(strange: dict[str, Any]) -> None:
    assert "execution_id" not in Tried([strange]).report()
    assert Tried([strange, made_for(1, "a-1"), strange]).report()["execution_id"] == "c-1"


def test_a_listing_that_fails_does_not_keep_a_parent_from_its_end() -> None:
    class Failing(Tried):
        def children_of(self, id_: str, **given: Any) -> Any:
            yield made_for(1, "a-1")
            raise OutcomeUnknown("GET", "x", "is larger than 67108864 bytes")

    assert Failing([]).report()["execution_id"] == "c-1"


def test_what_is_gone_is_not_at_work() -> None:
    looking = view([], [workflow(W1, FIRST), workflow(W2, SECOND, "ERROR")])
    assert looking.is_at_work(W1)
    assert not looking.is_at_work(W2)
    assert not looking.is_at_work("gone")


def test_one_that_names_no_workflow_is_looked_at_in_every_comparison() -> None:
    """Its runner may have died before it could."""
    nameless = {"id": FIRST, "status": "succeeded", "context": {}, "runner": {"name": "mistral-v2"}}
    listed = view([nameless], []).listed()
    assert listed.waiting == {FIRST: W1}
    assert listed.doubtful == {FIRST}


def test_a_result_too_large_to_be_fetched_is_left_out() -> None:
    class Large(Systems):
        def tasks(self, workflow_id: str) -> Any:
            return [{"id": "t", "name": "one", "created_at": "2026-11-25 00:00:00"}]

        def get_task(self, id_: str) -> Any:
            raise OutcomeUnknown("GET", "x", "is larger than 67108864 bytes")

        def attempts(self, id_: str) -> list[Any]:
            return []

        def task_summary(self, id_: str) -> Any:
            return {"id": id_, "name": "one", "state": "SUCCESS", "type": "ACTION"}

    systems = Large([], [])
    view = ParentView(systems, systems, "here")  # type: ignore[arg-type]
    report = view.report({**workflow(W1, FIRST, "SUCCESS"), "output": "{}"})
    (task,) = report["tasks"]
    assert (task["name"], task["state"]) == ("one", "SUCCESS")
    assert "too large" in str(task["result"])
