"""Test what ``status`` says about pending actions: what the relay would decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from support.relay import SETTINGS, TASK_WORKFLOW, Systems, action, child_of, task

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.errors import OutcomeUnknown
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.relay.status import Pending, pending_actions, unanswered_inquiries


def parse(inputs: Mapping[str, Any], ids: MistralIds) -> ExecutionRequest:
    return ExecutionRequest("core.noop", {}, ids)


def systems() -> Systems:
    """Return both systems, with one pending action that is an hour old."""
    found = Systems(workflows=[{"id": TASK_WORKFLOW, "state": "RUNNING"}])
    found.mistral.add_action(action())
    found.mistral.add_task(task())
    found.mistral.time = datetime(2026, 11, 23, 5, 16, 7, tzinfo=timezone.utc)
    return found


def all_shown(found: Systems, **failing: Any) -> list[Pending]:
    return list(
        pending_actions(
            found.st2,
            found.clients,
            replace(SETTINGS, reschedule_after=120),
            failing,
            parse_request=parse,
        )
    )


def shown(found: Systems, **failing: Any) -> Pending:
    [row] = all_shown(found, **failing)
    return row


def test_lost_action_is_shown_with_its_last_failure() -> None:
    row = shown(systems(), a={"error": "no", "times": 2})
    assert (row.next, row.error, row.failures) == ("reschedule it: it has no execution", "no", 2)
    assert (row.age, row.execution_id) == (3600, None)


def test_duplicates_that_would_be_cancelled_are_named() -> None:
    found = systems()
    found.st2.add(*(child_of("a", id_=id_) for id_ in ("first", "second")))
    row = shown(found)
    assert row.execution_id == "first"
    assert row.next == ("nothing: it is running; cancel second: its action execution has first already")


def test_action_of_another_project_is_shown_with_the_remedy() -> None:
    found = systems()
    found.mistral.actions["a"]["project_id"] = "b"
    found.clients.authenticate("a")
    row = shown(found)
    assert (row.no_access, row.project_id) == (True, "b")
    assert row.next == "nothing: it belongs to b"
    assert row.error == "it belongs to b. Give it a role."


def test_action_of_a_project_with_access_is_shown_with_its_project() -> None:
    found = systems()
    found.mistral.actions["a"]["project_id"] = "b"
    found.mistral.workflows[TASK_WORKFLOW]["project_id"] = "b"
    found.clients.authenticate(trusts={"t": "b"})
    found.st2.add(child_of("a", "succeeded", trust="t"))
    row = shown(found)
    assert (row.no_access, row.project_id, row.next) == (False, "b", "complete it as SUCCESS")


def test_oldest_action_is_first() -> None:
    found = systems()
    found.mistral.add_action(action("older", created_at="2026-11-23 04:16:01"))
    assert [row.action_execution_id for row in all_shown(found)] == ["older", "a"]


def test_result_that_could_be_delivered_is_not() -> None:
    found = systems()
    found.st2.add(child_of("a", "succeeded"))
    assert shown(found).next == "complete it as SUCCESS"
    assert found.mistral.completed == []


def test_action_that_cannot_be_observed_does_not_hide_the_others() -> None:
    found = systems()
    found.mistral.add_action(action("b", task="other"))
    found.mistral.add_task(task("other"))

    def fail(id_: str, *_: Any) -> None:
        if id_ == "a":
            raise OutcomeUnknown("GET", "http://mistral", "503 later")

    found.mistral.hooks["find_action"] = found.mistral.hooks["get_action"] = fail
    rows = {row.action_execution_id: row for row in all_shown(found)}
    assert (rows["a"].next, rows["a"].error) == (
        "it cannot be observed",
        "GET http://mistral: 503 later",
    )
    assert rows["b"].error is None


def test_inquiry_whose_action_has_ended_is_shown() -> None:
    found = systems()
    found.st2.add(child_of("a", "pending"), child_of("ended", "pending"), child_of("gone", "pending"))
    found.mistral.add_action(action("ended", state="CANCELLED"))
    [row] = unanswered_inquiries(found.st2, found.clients, SETTINGS)
    assert (row.action_execution_id, row.execution_id) == ("ended", "child-of-ended")
    assert (row.status, row.age, row.error) == ("pending", 3600, None)
    assert "StackStorm does not cancel inquiries" in row.next
