"""What a comparison of actions and children finds, and what a closer look does. Stand-ins of the two
clients say what there is."""

from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.model.project import Scope
from st2actions_mistral.relay.reconcile import Place
from st2actions_mistral.relay.view import View

EARLIER, LATER = "2026-11-23 04:16:07", "2026-11-23 04:16:09"


def action(id_: str, task: str | None = "t", created: str = EARLIER) -> dict[str, Any]:
    return {
        "id": id_,
        "name": "st2.action",
        "state": "RUNNING",
        "created_at": created,
        "task_execution_id": task,
    }


def task(id_: str, *, with_items: bool = False, workflow: str = "w") -> dict[str, Any]:
    return {
        "id": id_,
        "state": "RUNNING",
        "workflow_execution_id": workflow,
        "workflow_name": "n",
        "runtime_context": {"with_items": {"count": 2}} if with_items else {},
    }


class Systems:
    """Instead of both clients."""

    token: Scope | None = None

    def __init__(self, actions: list[Any], tasks: list[Any], workflow: str = "RUNNING") -> None:
        self.actions = {row["id"]: row for row in actions}
        self.tasks = {row["id"]: row for row in tasks}
        self.workflow = workflow

    def running_actions(self) -> Any:
        return list(self.actions.values())

    def unfinished_tasks(self) -> Any:
        return list(self.tasks.values())

    def cancelled_among(self, ids: Any) -> set[str]:
        return set(ids) if self.workflow == "CANCELLED" else set()

    def get_action(self, id_: str) -> Any:
        return self.actions.get(id_)

    def get_task(self, id_: str) -> Any:
        return self.tasks.get(id_)

    def scope(self) -> Scope | None:
        return self.token

    def get_execution(self, id_: str, **given: Any) -> Any:
        return {"id": id_, "state": self.workflow}

    def attempts(self, id_: str) -> Any:
        return [row for row in self.actions.values() if row["task_execution_id"] == id_]

    def view(self) -> View:
        return View(self, self, "here")  # type: ignore[arg-type]


@pytest.mark.parametrize(("with_items", "given_up"), [(False, {"a"}), (True, set())])
def test_of_two_actions_of_a_task_the_later_one_is_waited_for(
    with_items: bool, given_up: set[str]
) -> None:
    """Unless both are items of it."""
    actions = [action("a"), action("b", created=LATER)]
    view = Systems(actions, [task("t", with_items=with_items)]).view()
    assert view.given_up(actions) == given_up
    place = view.look("a").place
    assert place is not None
    assert place.newer_attempt == bool(given_up)


def test_the_attempts_of_a_task_with_items_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be thousands."""
    systems = Systems([action("a"), action("b", created=LATER)], [task("t", with_items=True)])
    monkeypatch.delattr(Systems, "attempts")
    assert systems.view().look("a").place == Place("RUNNING", "RUNNING", with_items=True)


def test_an_action_whose_task_is_gone_is_given_up() -> None:
    systems = Systems([action("a")], [])
    assert systems.view().given_up(systems.running_actions()) == {"a"}
    place = systems.view().look("a").place
    assert place is not None
    assert place.given_up
    assert place.settled


def test_an_action_without_a_task_has_no_place() -> None:
    assert Systems([action("a", task=None)], []).view().look("a").place is None


@pytest.mark.parametrize(
    "broken",
    [
        {"id": "b"},
        {**action("b"), "name": None},
        {**action("b"), "created_at": None},
        {**action("b"), "created_at": "yesterday"},
        {name: value for name, value in action("b").items() if name != "created_at"},
    ],
)
def test_a_broken_row_does_not_stand_in_the_way_of_others(
    broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    systems = Systems([action("a"), broken], [task("t")])
    assert set(systems.view().waiting()) == {"a"}
    assert "Action execution b is passed over" in caplog.text


@pytest.mark.parametrize("workflow", [None, "missing"])
def test_a_task_without_a_workflow_tells_nothing_of_its_actions(
    workflow: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {**task("t"), "workflow_execution_id": workflow}
    if workflow == "missing":
        del broken["workflow_execution_id"]
    actions = [action("a"), action("b", "u"), action("c", "gone")]
    systems = Systems(actions, [broken, task("u")], workflow="CANCELLED")
    assert systems.view().given_up(actions) == {"b", "c"}
    assert "Task execution t is passed over" in caplog.text


def test_waiting_leaves_out_actions_of_other_projects(caplog: pytest.LogCaptureFixture) -> None:
    own = {**action("a"), "project_id": "own"}
    other = {**action("b"), "project_id": "other"}
    systems = Systems([own, other, action("c")], [task("t")])
    systems.token = Scope("own")
    assert set(systems.view().waiting()) == {"a"}
    assert set(systems.view().all_waiting()) == {"a", "b", "c"}
    assert "project 'other'" in caplog.text
    assert "an unknown project" in caplog.text


def test_nothing_more_is_asked_about_an_action_of_another_project() -> None:
    systems = Systems([{**action("b"), "project_id": "other"}], [])
    systems.token = Scope("own")
    seen = systems.view().look("b")
    assert (seen.place, seen.scope) == (None, Scope("own"))
