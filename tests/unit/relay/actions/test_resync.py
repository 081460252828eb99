"""Compare all pending actions with their children."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from support.clock import Clock
from support.relay import SETTINGS, SITE, TASK_WORKFLOW, Systems, action, child_of, task

from st2actions_mistral.errors import Answered
from st2actions_mistral.relay.actions.controller import rules_of
from st2actions_mistral.relay.actions.index import Index
from st2actions_mistral.relay.actions.observe import ActionObserver
from st2actions_mistral.relay.actions.resync import ActionResync, Listing

EARLIER, LATER = "2026-11-23 04:16:07", "2026-11-23 04:16:09"


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.systems = Systems()
        self.st2, self.mistral = self.systems.st2, self.systems.mistral
        self.clients = self.systems.clients
        self.clock = Clock()
        self.index = Index(clock=self.clock)
        observer = ActionObserver(
            self.st2,
            self.clients,
            SITE,
            self.index,
            parse_request=lambda inputs, ids: None,
            clock=self.clock,
        )
        self.heartbeats = 0
        self.resync = ActionResync(
            self.st2,
            self.clients,
            rules_of(replace(SETTINGS, **settings)),
            self.index,
            observer,
            heartbeat=self.heartbeat,
        )
        self.mistral.add({"id": TASK_WORKFLOW, "state": "RUNNING"})

    def heartbeat(self) -> None:
        self.heartbeats += 1

    def pending(self, *actions: dict[str, Any], items: bool = False) -> None:
        self.mistral.add_action(*actions)
        for id_ in {row["task_execution_id"] for row in actions}:
            self.mistral.add_task(task(id_, items=items))

    def compare(self, *, full: bool = True) -> Listing:
        return self.resync.compare(full=full)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("status", "given_up", "changed"),
    [("running", False, False), ("succeeded", False, True), ("running", True, True)],
)
@pytest.mark.parametrize("full", [True, False])
def test_action_with_a_running_child_is_healthy(
    bench: Bench, status: str, given_up: bool, changed: bool, full: bool
) -> None:
    bench.pending(action())
    bench.st2.add(child_of("a", status))
    if given_up:
        bench.mistral.workflows[TASK_WORKFLOW]["state"] = "CANCELLED"
    listing = bench.compare(full=full)
    assert set(listing.pending) == {"a"}
    assert (set(listing.changed), set(listing.healthy)) == (
        ({"a"}, set()) if changed else (set(), {"a"})
    )
    assert bench.index.snapshot() == {"a": "child-of-a"}
    assert bench.index.was_pending("a")
    assert bench.heartbeats > 3


def test_child_that_vanished_is_changed(bench: Bench) -> None:
    bench.pending(action())
    bench.index.add("a", "gone")
    assert set(bench.compare().changed) == {"a"}


def test_action_that_is_not_pending_any_more_is_changed_until_it_is_forgotten(bench: Bench) -> None:
    bench.pending(action())
    bench.st2.add(child_of("a"))
    bench.compare()
    bench.mistral.actions["a"]["state"] = "ERROR"
    for _ in range(2):
        listing = bench.compare()
        assert (set(listing.pending), set(listing.changed)) == (set(), {"a"})
    bench.index.forget("a")
    assert not bench.compare(full=False).changed


def test_unfinished_children_of_other_actions_are_found(bench: Bench) -> None:
    """Their action may have been deleted."""
    bench.st2.add(child_of("deleted"), child_of("done", "succeeded"))
    bench.compare()
    assert bench.index.snapshot() == {"deleted": "child-of-deleted"}
    assert set(bench.compare().changed) == {"deleted"}


def test_duplicates_are_found(bench: Bench) -> None:
    bench.pending(action("a"), action("b"))
    bench.st2.add(child_of("a", id_="1"), child_of("a", id_="2"), child_of("b", id_="3"))
    listing = bench.compare()
    assert set(listing.duplicated) == {"a"}
    assert bench.index.snapshot() == {"a": "1", "b": "3"}


def test_children_are_listed_only_for_actions_without_a_known_child(bench: Bench) -> None:
    bench.pending(action())
    bench.st2.add(child_of("a"))
    bench.compare(full=False)
    bench.compare(full=False)
    assert bench.st2.requests["children_since"] == 1
    bench.compare(full=True)
    assert bench.st2.requests["children_since"] == 2


@pytest.mark.parametrize("pending", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_full_resync_fills_the_gap_before_it(bench: Bench, pending: bool, full: bool) -> None:
    if pending:
        bench.pending(action())
    bench.index.set_streaming(True)
    bench.compare(full=full)
    bench.index.add("created since then", "x")
    assert bench.index.is_first("created since then", "x") == full


@pytest.mark.parametrize(("reschedule_after", "changed"), [(60, {"a"}), (61, set()), (0, set())])
def test_age_of_an_action_without_a_child_goes_by_mistrals_clock(
    reschedule_after: float, changed: set[str]
) -> None:
    bench = Bench(reschedule_after=reschedule_after, lost_after=0)
    bench.pending(action())
    bench.mistral.time = datetime(2026, 11, 23, 4, 17, 7, tzinfo=timezone.utc)
    assert set(bench.compare().changed) == changed


def test_action_without_a_child_that_is_given_up_is_changed(bench: Bench) -> None:
    bench.pending(action())
    bench.mistral.time = datetime(2026, 11, 23, 4, 16, 7, tzinfo=timezone.utc)
    assert not bench.compare().changed
    bench.mistral.task_executions["t"]["state"] = "DELAYED"
    assert set(bench.compare().changed) == {"a"}


# -- given up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "given_up"), [(False, {"a"}), (True, set())])
def test_older_attempt_of_a_task_without_items_is_given_up(
    bench: Bench, items: bool, given_up: set[str]
) -> None:
    actions = [action("a"), action("b", created_at=LATER)]
    bench.pending(*actions, items=items)
    assert bench.resync.given_up(actions) == given_up


def test_action_of_a_task_that_is_not_active_is_given_up(bench: Bench) -> None:
    bench.mistral.add_action(action())
    assert bench.resync.given_up([action()]) == {"a"}


@pytest.mark.parametrize("workflow", [None, "missing"])
def test_task_without_a_workflow_does_not_give_up_its_actions(
    bench: Bench, workflow: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {**task("t"), "workflow_execution_id": workflow}
    if workflow == "missing":
        del broken["workflow_execution_id"]
    bench.mistral.workflows[TASK_WORKFLOW]["state"] = "CANCELLED"
    bench.mistral.add_task(broken, task("u"))
    actions = [action("a"), action("b", "u"), action("c", "gone")]
    assert bench.resync.given_up(actions) == {"b", "c"}
    assert "Task execution t is skipped" in caplog.text


# -- pending -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        {"id": "b", "state": "RUNNING"},
        action("b", name=None),
        action("b", created_at=None),
        action("b", created_at="yesterday"),
        {name: value for name, value in action("b").items() if name != "created_at"},
    ],
)
def test_broken_row_does_not_hide_the_others(
    bench: Bench, broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bench.mistral.add_action(action("a"), broken)
    assert set(bench.resync.pending()) == {"a"}
    assert "Action execution b is skipped" in caplog.text


def test_actions_of_another_kind_are_left_out(bench: Bench) -> None:
    bench.mistral.definitions["book.shell"] = "version: '2.0'\nshell:\n  base: st2.action\n"
    bench.mistral.add_native("core.local")
    names = ("st2.action", "std.async_noop", "book.shell", "core.local", "core.unknown")
    bench.mistral.add_action(*(action(name, name=name) for name in names))
    assert set(bench.resync.pending()) == {"st2.action", "book.shell", "core.local"}


def test_actions_without_access_are_reported_and_left_out(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for id_, project in (("a", "own"), ("b", "other"), ("c", None)):
        bench.mistral.add_action(action(id_, project_id=project))
        bench.st2.add(child_of(id_, "succeeded"))
    bench.mistral.add_task(task())
    bench.mistral.add({"id": TASK_WORKFLOW, "state": "RUNNING", "project_id": "own"})
    bench.clients.authenticate("own")
    listing = bench.resync.compare()
    assert set(listing.pending) == {"a", "b", "c"}
    assert set(listing.changed) == {"a"}
    assert "project 'other'" in caplog.text
    assert "an unknown project" in caplog.text


def test_action_whose_child_has_a_trust_is_not_reported(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.mistral.add_action(action("a", project_id="b"), action("new", project_id="b"))
    bench.mistral.add_task(task())
    bench.mistral.add({"id": TASK_WORKFLOW, "state": "RUNNING", "project_id": "b"})
    bench.st2.add(child_of("a", "succeeded", trust="t", workflow="another"))
    bench.clients.authenticate(trusts={"t": "b"})
    bench.mistral.time = datetime(2026, 11, 23, 4, 16, 17, tzinfo=timezone.utc)
    assert set(bench.resync.compare().changed) == {"a"}
    # The child of the other one will bring a trust, too.
    assert "project" not in caplog.text


def test_base_of_an_ad_hoc_action_is_looked_up_in_its_project(bench: Bench) -> None:
    """An administrator finds the definition of any project."""
    bench.mistral.definitions["shell"] = "version: '2.0'\nshell:\n  base: st2.action\n"
    bench.mistral.add_action(
        action("a", name="shell", project_id="a"), action("b", name="shell", project_id="b")
    )
    bench.clients.authenticate("a", "b")
    other = "version: '2.0'\nshell:\n  base: std.echo\n"
    client = bench.clients.access("b")
    client.action_definition = lambda name: other if name == "shell" else None
    assert set(bench.resync.pending()) == {"a"}


def test_ad_hoc_action_that_an_administrator_does_not_find_is_looked_up_in_its_project(
    bench: Bench,
) -> None:
    bench.mistral.definitions["shell"] = "version: '2.0'\nshell:\n  base: st2.action\n"
    bench.mistral.add_action(
        action("a", name="shell", project_id="a"), action("b", name="std.async_noop", project_id="a")
    )
    bench.clients.authenticate("a", old=True)
    assert set(bench.resync.pending()) == {"a"}


@pytest.mark.parametrize("old", [False, True])
def test_cancelled_workflow_of_another_project_is_found(bench: Bench, old: bool) -> None:
    bench.mistral.add_action(action("a", project_id="a"))
    bench.mistral.add_task(task())
    bench.mistral.add({"id": TASK_WORKFLOW, "state": "CANCELLED", "project_id": "a"})
    bench.st2.add(child_of("a"))
    bench.clients.authenticate("a", old=old)
    assert set(bench.resync.compare().changed) == {"a"}


def test_rejected_definition_in_a_project_does_not_end_the_resync_for_others(bench: Bench) -> None:
    bench.mistral.definitions["shell"] = "version: '2.0'\nshell:\n  base: st2.action\n"
    bench.mistral.add_action(action("a", project_id="a"), action("b", name="shell", project_id="b"))
    bench.clients.authenticate("a", "b")
    bench.clients.access("b").action_definition = reject
    assert set(bench.resync.pending()) == {"a", "b"}


def test_rejected_state_of_a_workflow_does_not_end_the_resync_for_others(bench: Bench) -> None:
    bench.mistral.add_action(action("b", project_id="b"))
    bench.mistral.add_task(task())
    bench.mistral.add({"id": TASK_WORKFLOW, "state": "CANCELLED", "project_id": "b"})
    bench.st2.add(child_of("b"))
    bench.clients.authenticate("b")
    bench.clients.access("b").execution_state = reject
    # Its worker reports the error.
    assert set(bench.resync.compare().changed) == {"b"}


def reject(_: str) -> None:
    raise Answered("GET", "x", 403, "no")


def test_executions_with_unsigned_ids_are_left_out_with_a_key() -> None:
    bench = Bench(context_keys=("key",))
    bench.mistral.add_action(action("a"), action("b"))
    bench.st2.add(child_of("a", key="key"), child_of("a", id_="forged"), child_of("b", key="other"))
    children = bench.resync.children(bench.resync.pending())
    assert {id_: child["id"] for id_, child in children.first.items()} == {"a": "child-of-a"}
    assert children.duplicated == set()
