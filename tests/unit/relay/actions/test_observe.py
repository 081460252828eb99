"""Observe one action, and count the requests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import pytest
from support.clock import Clock
from support.relay import SITE, TASK_WORKFLOW, Systems, action, child_of, no_access, task

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.relay.actions.decide import Seen
from st2actions_mistral.relay.actions.effects import Look
from st2actions_mistral.relay.actions.index import LARGE_RESULT, Index
from st2actions_mistral.relay.actions.observe import ActionObserver
from st2actions_mistral.relay.actions.place import Place

LATER = "2026-11-23 04:16:09"
OTHER = "4b4f5be9-77b1-4f0e-9a53-2a1a4f5e6d7c"


class Bench:
    """An observer of two stand-ins."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.systems = Systems()
        self.st2, self.mistral = self.systems.st2, self.systems.mistral
        self.clients = self.systems.clients
        self.clock = Clock()
        self.index = Index(clock=self.clock)
        self.parsed: list[tuple[Mapping[str, Any], MistralIds]] = []
        self.observer = ActionObserver(
            self.st2,
            self.clients,
            SITE,
            self.index,
            parse_request=self.parse,
            keys=keys,
            clock=self.clock,
        )
        self.mistral.add({"id": TASK_WORKFLOW, "state": "RUNNING"})

    def parse(self, inputs: Mapping[str, Any], ids: MistralIds) -> ExecutionRequest | None:
        self.parsed.append((inputs, ids))
        return ExecutionRequest(str(inputs.get("ref", "core.noop")), {}, ids)

    def deliver(self, *actions: str, task: str = "t") -> list[Seen]:
        """Observe actions whose final child an event has brought."""
        self.mistral.requests.clear()
        self.st2.requests.clear()
        self.clock.advance(0.001)
        return [
            self.observer.observe(id_, child=child_of(id_, "succeeded", task=task)) for id_ in actions
        ]


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- how much is asked ---------------------------------------------------------------------------


def test_result_of_a_single_action_takes_two_listings(bench: Bench) -> None:
    bench.mistral.add_action(action())
    bench.mistral.add_task(task())
    [seen] = bench.deliver("a")
    assert seen.action == action()
    assert seen.place == Place("RUNNING", "RUNNING")
    assert bench.mistral.requests == {"tasks_of": 1, "attempts": 1}
    assert not bench.st2.requests


def test_result_of_a_task_that_is_newer_than_the_listing_takes_no_more(bench: Bench) -> None:
    bench.mistral.add_action(action())
    bench.mistral.add_task(task())
    bench.deliver("a")
    bench.mistral.add_action(action("b", "u"))
    bench.mistral.add_task(task("u"))
    [seen] = bench.deliver("b", task="u")
    assert seen.action == action("b", "u")
    assert bench.mistral.requests == {"tasks_of": 1, "attempts": 1}


def test_results_of_many_items_share_two_listings(bench: Bench) -> None:
    names = [f"a-{number}" for number in range(100)]
    bench.mistral.add_action(*(action(name) for name in names))
    bench.mistral.add_task(task(items=True))
    for seen in bench.deliver(*names):
        assert seen.action is not None
        assert seen.place == Place("RUNNING", "RUNNING", with_items=True)
    assert bench.mistral.requests == {"tasks_of": 1, "attempts": 1}


def test_items_are_listed_again_after_a_second(bench: Bench) -> None:
    """An item that an operator paused meanwhile must not be completed."""
    bench.mistral.add_action(action("a-1"), action("a-2"))
    bench.mistral.add_task(task(items=True))
    bench.deliver("a-1")
    bench.mistral.add_action(action("a-2", state="PAUSED"))
    bench.clock.advance(1.1)
    [seen] = bench.deliver("a-2")
    assert seen.action == action("a-2", state="PAUSED")


def test_item_is_taken_from_a_listing_once(bench: Bench) -> None:
    """It is probably complete: Mistral answers a second completion with 500."""
    bench.mistral.add_action(action("a-1"), action("a-2"))
    bench.mistral.add_task(task(items=True))
    bench.deliver("a-1")
    bench.mistral.add_action(action("a-1", state="SUCCESS"))
    [seen] = bench.deliver("a-1")
    assert seen.action == action("a-1", state="SUCCESS")
    assert bench.mistral.requests == {"find_action": 1}


def test_item_is_taken_once_also_if_a_later_listing_still_shows_it(bench: Bench) -> None:
    """That listing was made while Mistral stored the result of the item."""
    bench.mistral.add_action(action("a-1"), action("a-2"))
    bench.mistral.add_task(task(items=True))
    bench.deliver("a-1")
    bench.clock.advance(1.1)
    bench.deliver("a-2")
    assert bench.mistral.requests["attempts"] == 1
    bench.mistral.add_action(action("a-1", state="SUCCESS"))
    [seen] = bench.deliver("a-1")
    assert seen.action == action("a-1", state="SUCCESS")
    assert bench.mistral.requests == {"find_action": 1}


def test_item_that_is_newer_than_the_listing_is_asked_for(bench: Bench) -> None:
    bench.mistral.add_action(action("a-1"))
    bench.mistral.add_task(task(items=True))
    bench.deliver("a-1")
    bench.mistral.add_action(action("a-2"))
    assert bench.deliver("a-2")[0].action == action("a-2")
    assert bench.mistral.requests == {"find_action": 1}


def test_state_of_a_task_with_items_is_asked_again_after_a_second(bench: Bench) -> None:
    bench.mistral.add_action(action("a-1"), action("a-2"))
    bench.mistral.add_task(task(items=True))
    bench.deliver("a-1")
    bench.clock.advance(1.1)
    bench.mistral.task_executions["t"]["state"] = "ERROR"
    [seen] = bench.deliver("a-2")
    assert seen.place == Place("RUNNING", "ERROR", with_items=True)
    assert bench.mistral.requests["get_task"] == 0


def test_items_are_not_listed_for_a_child_that_is_not_final(bench: Bench) -> None:
    """An execution is orphaned if its action has ended by now."""
    bench.mistral.add_action(action("a", state="ERROR"))
    seen = bench.observer.observe("a", child=child_of("a"))
    assert seen.action == action("a", state="ERROR")
    assert bench.mistral.requests == {"find_action": 1}


def test_attempts_are_observed_anew_for_each_result(bench: Bench) -> None:
    bench.mistral.add_action(action("a"))
    bench.mistral.add_task(task())
    bench.deliver("a")
    bench.mistral.add_action(action("b", created_at=LATER))
    [seen] = bench.deliver("a")
    assert seen.place is not None
    assert seen.place.newer_attempt
    bench.mistral.task_executions["t"]["state"] = "DELAYED"
    [seen] = bench.deliver("a")
    assert seen.place is not None
    assert seen.place.task_state == "DELAYED"


@pytest.mark.parametrize(
    "claims",
    [
        {"task": "other"},
        {"workflow": OTHER},
        {"workflow": "no UUID"},
        {"task": None},
        {"workflow": None},
        {"task": "unknown", "workflow": OTHER},
    ],
)
@pytest.mark.parametrize("items", [True, False])
def test_context_of_a_child_is_not_trusted(bench: Bench, claims: dict[str, Any], items: bool) -> None:
    """It says where to look, and anybody may have written it."""
    bench.mistral.add_action(action("a"), action("b", "other", created_at=LATER))
    bench.mistral.add_task(task(items=items), task("other", OTHER, items=items))
    bench.mistral.task_executions["t"]["state"] = "ERROR"
    seen = bench.observer.observe("a", child=child_of("a", "succeeded", **claims))
    assert seen.action == action("a")
    assert seen.place == Place("RUNNING", "ERROR", with_items=items)


# -- the place of an action ----------------------------------------------------------------------


def test_older_of_two_attempts_has_a_newer_one(bench: Bench) -> None:
    bench.mistral.add_action(action("a"), action("b", created_at=LATER))
    bench.mistral.add_task(task())
    places = [bench.observer.observe(id_).place for id_ in ("a", "b")]
    assert [place and place.newer_attempt for place in places] == [True, False]


def test_items_are_not_taken_for_attempts(bench: Bench) -> None:
    bench.mistral.add_action(action("a"), action("b", created_at=LATER))
    bench.mistral.add_task(task(items=True))
    assert bench.observer.observe("a").place == Place("RUNNING", "RUNNING", with_items=True)
    assert bench.mistral.requests["attempts"] == 0


def test_action_of_a_deleted_task_is_given_up(bench: Bench) -> None:
    bench.mistral.add_action(action("a"))
    for found in (None, child_of("a"), child_of("a", "succeeded")):
        place = bench.observer.observe("a", child=found).place
        assert place is not None
        assert place.given_up
        assert place.settled


def test_action_without_a_task_has_no_place(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    assert bench.observer.observe("a").place is None
    final = child_of("a", "succeeded", task=None, workflow=None)
    assert bench.observer.observe("a", child=final).place is None


def test_state_of_the_workflow_counts_unless_the_child_is_final(bench: Bench) -> None:
    bench.mistral.add_action(action("a"))
    bench.mistral.add_task(task())
    bench.mistral.workflows[TASK_WORKFLOW]["state"] = "CANCELLED"
    for found, state in ((child_of("a"), "CANCELLED"), (child_of("a", "failed"), "RUNNING")):
        place = bench.observer.observe("a", child=found).place
        assert place is not None
        assert place.workflow_state == state


def test_known_workflow_of_a_task_saves_the_request_for_the_task(bench: Bench) -> None:
    """That request costs more the more items the task has."""
    bench.mistral.add_action(action("a"))
    bench.mistral.add_task(task(items=True))
    bench.observer.observe("a")
    assert bench.mistral.requests["get_task"] == 1
    other = Bench()
    other.mistral.add_action(action("a"))
    other.mistral.add_task(task(items=True))
    other.observer.tasks.learn([task()])
    other.observer.observe("a")
    assert other.mistral.requests["get_task"] == 0


# -- projects ------------------------------------------------------------------------------------


def in_project(bench: Bench, project: str = "a", **given: Any) -> None:
    """Let Mistral have an action with its task and workflow in a project."""
    bench.mistral.add_action(action("a", project_id=project, **given))
    bench.mistral.add_task(task())
    bench.mistral.add({"id": TASK_WORKFLOW, "state": "RUNNING", "project_id": project})


def test_nothing_more_is_asked_without_access(bench: Bench) -> None:
    bench.mistral.add_action(action("a", project_id="other"))
    bench.clients.authenticate("own")
    seen = bench.observer.observe("a")
    assert (seen.place, seen.client) == (None, None)
    assert seen.no_access == no_access("other")
    assert bench.mistral.requests["get_task"] == 0


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("status", ["running", "succeeded"])
def test_action_is_observed_in_its_project(bench: Bench, old: bool, status: str) -> None:
    in_project(bench)
    bench.clients.authenticate("a", old=old)
    bench.st2.add(child_of("a", status, project="a"))
    bench.index.add("a", "child-of-a")
    seen = bench.observer.observe("a")
    assert seen.action is not None
    assert seen.client is bench.clients.access("a")
    assert seen.place == Place("RUNNING", "RUNNING")
    assert (seen.hidden, seen.no_access) == (False, None)


def test_action_that_an_administrator_cannot_get_is_hidden(bench: Bench) -> None:
    in_project(bench)
    bench.clients.authenticate("a", old=True)
    bench.st2.add(child_of("a"))
    bench.index.add("a", "child-of-a")
    seen = bench.observer.observe("a")
    assert (seen.action, seen.hidden) == (None, True)
    # Once Mistral's listing has shown the project, it can be read.
    bench.observer.hints.learn_records(bench.mistral.actions.values())
    seen = bench.observer.observe("a")
    assert seen.action is not None
    assert not seen.hidden


def test_project_in_the_context_only_says_where_to_look(bench: Bench) -> None:
    """The record is of another project, which the relay must not act in."""
    in_project(bench, "b")
    bench.clients.authenticate("a")
    bench.st2.add(child_of("a", project="a", trust="t"))
    bench.index.add("a", "child-of-a")
    assert bench.observer.observe("a").no_access == no_access("b")


def test_missing_action_is_deleted_only_for_a_token_of_its_project(bench: Bench) -> None:
    in_project(bench)
    bench.clients.authenticate("a")
    bench.observer.hints.learn_records(bench.mistral.actions.values())
    del bench.mistral.actions["a"]
    assert not bench.observer.observe("a").hidden
    bench.clients.roles.clear()
    seen = bench.observer.observe("a")
    assert seen.hidden
    assert seen.no_access == no_access("a")
    assert bench.observer.observe("unknown").hidden


def test_trust_of_the_child_opens_the_project(bench: Bench) -> None:
    in_project(bench)
    bench.clients.authenticate(trusts={"t": "a"})
    bench.st2.add(child_of("a", trust="t"))
    bench.index.add("a", "child-of-a")
    seen = bench.observer.observe("a")
    assert seen.no_access is None
    assert seen.client is not None


def test_trust_with_an_unsigned_id_does_not_count_with_a_key() -> None:
    bench = Bench(keys=("key",))
    in_project(bench)
    bench.clients.authenticate(trusts={"t": "a"})
    bench.st2.add(child_of("a", trust="t"))
    bench.index.add("a", "child-of-a")
    assert bench.observer.observe("a").no_access == no_access("a")
    bench.st2.add(child_of("a", trust="t", key="key"))
    assert bench.observer.observe("a").no_access is None


def test_lost_action_takes_the_trust_of_its_workflow(bench: Bench) -> None:
    in_project(bench)
    bench.clients.authenticate(trusts={"t": "a"})
    bench.observer.tasks.learn([task()])
    assert bench.observer.observe("a").no_access == no_access("a")
    bench.observer.hints.learn_child("sibling", child_of("sibling", trust="t"))
    seen = bench.observer.observe("a")
    assert seen.no_access is None
    bench.observer.look(seen, Look.INPUTS)
    [(_, ids)] = bench.parsed
    assert (ids.project_id, ids.trust_id) == ("a", "t")


def test_child_without_a_trust_does_not_take_that_of_its_workflow(bench: Bench) -> None:
    in_project(bench)
    bench.clients.authenticate(trusts={"t": "a"})
    bench.observer.tasks.learn([task()])
    bench.observer.hints.learn_child("sibling", child_of("sibling", trust="t"))
    bench.st2.add(child_of("a"))
    bench.index.add("a", "child-of-a")
    assert bench.observer.observe("a").no_access == no_access("a")


def test_children_with_unsigned_ids_are_not_found_with_a_key() -> None:
    bench = Bench(keys=("key",))
    bench.st2.add(child_of("a", id_="forged"), child_of("a", id_="real", key="key"))
    assert [row["id"] for row in bench.observer.find_children(action("a"), "a")] == ["real"]
    assert bench.index.child_of("a") == "real"


# -- the child -----------------------------------------------------------------------------------


def test_child_is_fetched_without_a_large_result(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    large = child_of("a", "succeeded", result_size=LARGE_RESULT + 1)
    bench.st2.add(large)
    bench.index.add("a", large["id"])
    seen = bench.observer.observe("a")
    assert seen.child is not None
    assert "result" not in seen.child
    whole = bench.observer.look(seen, Look.RESULT)
    assert whole.child == large
    assert whole.whole


def test_event_saves_the_request_for_the_child(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    found = child_of("a", "succeeded")
    bench.st2.add(found)
    bench.index.add("a", found["id"])
    bench.index.put_result("a", found)
    assert bench.observer.observe("a").child == found
    assert not bench.st2.requests
    assert bench.observer.observe("a").child == found
    assert bench.st2.requests == {"get_execution": 1}


def test_child_that_vanished_is_missing_from_then_on(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    bench.index.add("a", "gone")
    for age in (0, 5):
        seen = bench.observer.observe("a")
        assert (seen.child, seen.vanished, seen.age) == (None, "gone", age)
        bench.clock.advance(5)


def test_large_result_that_is_deleted_while_it_waits_is_missing(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    found = child_of("a", "succeeded", result_size=LARGE_RESULT + 1)
    bench.st2.add(found)
    bench.index.add("a", found["id"])
    seen = bench.observer.observe("a")
    bench.st2.executions.clear()
    again = bench.observer.look(seen, Look.RESULT)
    assert (again.child, again.vanished) == (None, found["id"])


def test_action_is_observed_again_once_its_large_result_is_fetched(bench: Bench) -> None:
    bench.mistral.add_action(action("a"))
    bench.mistral.add_task(task())
    found = child_of("a", "succeeded", result_size=LARGE_RESULT + 1)
    bench.st2.add(found)
    bench.index.add("a", found["id"])
    seen = bench.observer.observe("a")
    bench.mistral.add_action(action("b", created_at=LATER))
    again = bench.observer.look(seen, Look.RESULT)
    assert again.place is not None
    assert again.place.newer_attempt


def test_first_child_replaces_the_one_that_was_seen(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    first, second = child_of("a", id_="1"), child_of("a", "succeeded", id_="2")
    bench.st2.add(first, second)
    bench.index.add("a", "2")
    seen = bench.observer.observe("a")
    assert (seen.child, seen.is_first) == (second, False)
    again = bench.observer.look(seen, Look.CHILDREN)
    assert (again.child, again.children) == (first, 2)
    assert bench.index.snapshot() == {"a": "1"}


def test_child_in_no_listing_any_more_counts(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    seen = bench.observer.observe("a", child=child_of("a", "succeeded"))
    again = bench.observer.look(seen, Look.CHILDREN)
    assert (again.child, again.children) == (seen.child, 0)


def test_children_are_listed_as_far_back_as_the_action_is_old(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    given: list[Any] = []
    bench.st2.hooks["find_children"] = lambda *args: given.append(args)
    bench.observer.look(bench.observer.observe("a"), Look.CHILDREN)
    assert given == [("a", SITE, datetime(2026, 11, 23, 4, 16, 7, tzinfo=timezone.utc))]


# -- age and inputs ------------------------------------------------------------------------------


def test_age_of_an_action_goes_by_mistrals_clock(bench: Bench) -> None:
    bench.mistral.add_action(action("a", task=None))
    bench.mistral.time = datetime(2026, 11, 23, 4, 17, 7, tzinfo=timezone.utc)
    assert bench.observer.observe("a").age == 60
    bench.clock.advance(30)
    assert bench.observer.observe("a").age == 90
    assert bench.mistral.requests["clock"] == 1


def test_inputs_are_read_with_the_ids_that_the_action_would_have_sent(bench: Bench) -> None:
    bench.mistral.add_action(action("a", input='{"ref": "core.local"}', project_id="p"))
    bench.mistral.add_task(task())
    seen = bench.observer.look(bench.observer.observe("a"), Look.INPUTS)
    assert seen.inputs is not None
    assert seen.inputs.request is not None
    assert seen.inputs.request.ref == "core.local"
    ids = MistralIds(
        SITE,
        workflow_execution_id=TASK_WORKFLOW,
        workflow_name="n",
        task_execution_id="t",
        action_execution_id="a",
        project_id="p",
    )
    assert bench.parsed == [({"ref": "core.local"}, ids)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"input": None}, "is not in Mistral any more."),
        ({"input": "{"}, "is not in Mistral any more."),
        ({"input": "[]"}, "is not in Mistral any more."),
        ({"input": {"ref": "x"}}, "'x' does not name an action"),
        ({"name": "book.adhoc"}, "cannot be read back: it is an ad-hoc action."),
    ],
)
def test_inputs_that_cannot_be_read_are_an_error(
    bench: Bench, given: dict[str, Any], reason: str
) -> None:
    bench.mistral.add_action(action("a", task=None, **given))
    seen = bench.observer.look(bench.observer.observe("a"), Look.INPUTS)
    assert seen.inputs is not None
    assert seen.inputs.request is None
    assert reason in str(seen.inputs.error)


@pytest.mark.parametrize("above", [{}, {"root_execution_id": "root", "params": "{}"}])
def test_inputs_of_a_native_action_are_made_as_the_provider_makes_them(
    bench: Bench, above: dict[str, Any]
) -> None:
    context = {"parent": {"execution_id": "6b03c160746e6986596007f7"}}
    env = {"__actions": {"st2.action": {"st2_context": context}}}
    workflow = {"state": "RUNNING", "params": json.dumps({"env": env})}
    bench.mistral.add({"id": "root", **workflow}, {"id": TASK_WORKFLOW, **workflow, **above})
    bench.mistral.add_native("core.local")
    bench.mistral.add_action(action("a", name="core.local", input='{"cmd": "date"}'))
    bench.mistral.add_task(task())
    seen = bench.observer.observe("a")
    assert seen.base == "st2.action"
    seen = bench.observer.look(seen, Look.INPUTS)
    assert seen.inputs is not None
    assert seen.inputs.error is None
    [(inputs, _)] = bench.parsed
    assert inputs == {
        "ref": "core.local",
        "parameters": {"cmd": "date"},
        "st2_context": context,
        "render_jinja": None,
    }


def test_native_action_that_mistral_has_no_more_cannot_be_read_back(bench: Bench) -> None:
    bench.mistral.add_native("core.local")
    bench.mistral.add_action(action("a", name="core.local", task=None, input='{"cmd": "date"}'))
    seen = bench.observer.observe("a")
    del bench.mistral.definitions["core.local"]
    seen = bench.observer.look(seen, Look.INPUTS)
    assert seen.inputs is not None
    assert "cannot be read back" in str(seen.inputs.error)


def test_base_of_an_ad_hoc_action_is_remembered_for_a_while(bench: Bench) -> None:
    bench.mistral.definitions["book.shell"] = "version: '2.0'\nshell:\n  base: st2.action\n"
    for id_ in ("a", "b"):
        bench.mistral.add_action(action(id_, task=None, name="book.shell"))
        assert bench.observer.observe(id_).base == "st2.action"
    asked = bench.mistral.requests["action_definition"]
    bench.clock.advance(31)
    assert bench.observer.observe("a").base == "st2.action"
    assert bench.mistral.requests["action_definition"] == 2 * asked


def test_result_of_a_duplicate_is_not_taken_for_that_of_the_first_child(bench: Bench) -> None:
    bench.mistral.add_action(action())
    bench.mistral.add_task(task())
    first = child_of("a")
    bench.st2.add(first)
    bench.index.set_first("a", first["id"])
    duplicate = {**child_of("a", "succeeded"), "id": "6b03c160746e698659600fff"}
    bench.index.put_result("a", duplicate)
    seen = bench.observer.observe("a")
    assert seen.child is not None
    assert seen.child["id"] == first["id"]
