"""What is offered to the workers, and when. The two systems are not needed for that: stand-ins of their
clients say what is seen and note what is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.project import Scope
from st2actions_mistral.relay import delivery as delivery_module
from st2actions_mistral.relay.children import Children
from st2actions_mistral.relay.delivery import Delivery
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.reconcile import Place, Seen

SETTINGS = RelaySettings(
    site="here",
    resync_interval=30,
    reschedule_after=0,
    lost_after=0,
    cancel_orphans=True,
    workers=2,
    field_size_limit_kb=1024,
)


def seen(action: str, status: str) -> Seen:
    return Seen(
        {
            "id": action,
            "name": "st2.action",
            "state": "RUNNING",
            "created_at": "2026-11-23 04:16:07",
            "input": {},
        },
        base="st2.action",
        child={
            "id": f"child of {action}",
            "status": status,
            "result": {},
            "context": {"mistral": {"site": "here", "action_execution_id": action}},
        },
    )


class Systems:
    """Instead of View and both clients."""

    token: Scope | None = None

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}
        self.childless: set[str] = set()
        self.listed: list[dict[str, Any]] = []
        self.scheduled: list[Any] = []
        self.given: list[Any] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.looks: list[str] = []
        self.completed: list[str] = []
        self.tried_enough: list[bool] = []
        self.fail = False

    def look(self, action: str, execution: str | None = None, **given: Any) -> Seen:
        found = seen(action, self.statuses.get(action, "running"))
        self.looks.append(action)
        assert self.may_go_on.wait(10)
        if self.fail:
            raise OutcomeUnknown("GET", "x", "no")
        if execution is None and action in self.childless:
            return replace(found, child=None, age=given["age"])
        return found

    def ids(self, action: Any) -> MistralIds:
        return MistralIds("here", action_execution_id=action["id"])

    def scope(self) -> Scope | None:
        return self.token

    def find_children(self, action: str, site: str, since: Any) -> list[dict[str, Any]]:
        return self.listed

    def schedule(self, child: Any, **given: Any) -> dict[str, Any]:
        self.scheduled.append(child)
        self.given.append(given)
        return {"id": "made"}

    def complete_action(self, action: str, state: str, output: Any, **given: Any) -> bool:
        self.completed.append(action)
        self.tried_enough.append(given["retries_exhausted"])
        return True


@pytest.fixture
def systems(monkeypatch: pytest.MonkeyPatch) -> Systems:
    # Each has tests of its own in tests/unit/bridge.
    for name in ("schedule", "complete_action"):
        monkeypatch.setattr(delivery_module, name, _ask_the_client(name))
    return Systems()


def _ask_the_client(name: str) -> Callable[..., Any]:
    return lambda client, *given, **more: getattr(client, name)(*given, **more)


def new_delivery(
    systems: Systems, settings: RelaySettings = SETTINGS, *, elsewhere: bool = False
) -> Delivery:
    def requested(inputs: Any, ids: MistralIds) -> ExecutionRequest | None:
        return None if elsewhere else ExecutionRequest("core.noop", {}, ids)

    return Delivery(
        systems,  # type: ignore[arg-type]
        systems,  # type: ignore[arg-type]
        settings,
        systems,  # type: ignore[arg-type]
        Children(),
        requested=requested,
        metrics=Metrics(),
    )


@pytest.fixture
def delivery(systems: Systems) -> Iterator[Delivery]:
    with closing(new_delivery(systems)) as made:
        yield made
        systems.may_go_on.set()


def eventually(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_happens_while_somebody_looks_is_looked_at_again(
    systems: Systems, delivery: Delivery
) -> None:
    systems.may_go_on.clear()
    delivery.offer("a-1", "x")
    eventually(lambda: systems.looks == ["a-1"])
    systems.statuses["a-1"] = "succeeded"
    assert delivery.offer("a-1", "x") is None
    systems.may_go_on.set()
    eventually(lambda: systems.completed == ["a-1"])
    assert systems.looks == ["a-1", "a-1"]


def test_whose_result_is_delivered_is_told(systems: Systems, delivery: Delivery) -> None:
    told: list[Any] = []
    delivery._delivered = told.append
    for action, status in (("a-1", "running"), ("a-2", "succeeded")):
        systems.statuses[action] = status
        tried = delivery.offer(action, "x")
        assert tried is not None
        tried.result(10)
    assert [child["id"] for child in told] == ["child of a-2"]


def test_what_failed_is_not_tried_again_at_once(systems: Systems, delivery: Delivery) -> None:
    systems.fail = True
    first = delivery.offer("a-1", "x")
    assert first is not None
    assert first.result(10) is False
    assert delivery.offer("a-1", "x") is None
    assert delivery.backoff.next_due() <= 1
    other = delivery.offer("a-2", "y")
    assert other is not None


def test_what_is_too_much_is_turned_away_until_there_is_room(
    systems: Systems, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_WAITING", 4)
    room = threading.Event()
    delivery._room = room.set
    systems.may_go_on.clear()
    for number in range(4):
        assert delivery.offer(f"a-{number}", "x") is not None
    assert delivery.offer("a-5", "x") is None
    assert not room.is_set()
    systems.may_go_on.set()
    assert room.wait(10)
    assert delivery.offer("a-5", "x") is not None


def test_whole_results_are_not_queued_without_bound(systems: Systems, delivery: Delivery) -> None:
    kept: list[bool] = []
    look = systems.look

    def noting(action: str, execution: str | None = None, **given: Any) -> Seen:
        kept.append(given["child"] is not None)
        return look(action, execution)

    delivery._view.look = noting  # type: ignore[method-assign, assignment]
    systems.may_go_on.clear()
    for number in range(10):
        delivery.offer(f"a-{number}", "x", child={"id": "x"})
    systems.may_go_on.set()
    eventually(lambda: len(kept) == 10)
    assert kept == [True] * 4 + [False] * 6


def test_the_lag_is_the_age_of_the_oldest_result_that_waits(
    systems: Systems, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert delivery.lag() == 0
    systems.statuses["a-1"] = "succeeded"
    monkeypatch.setattr(systems, "complete_action", _refuse)
    tried = delivery.offer("a-1", "x")
    assert tried is not None
    tried.result(10)
    time.sleep(0.1)
    assert 0.1 <= delivery.lag() < 10
    delivery.keep([])
    assert delivery.lag() == 0


@pytest.mark.parametrize("limit", ["reschedule_after", "lost_after"])
def test_a_child_that_no_listing_had_is_found_before_anything_follows(
    systems: Systems, limit: str
) -> None:
    systems.childless = {"a-1"}
    systems.listed = [{"id": "child of a-1", "status": "running"}]
    with closing(new_delivery(systems, replace(SETTINGS, **{limit: 5}))) as delivery:
        tried = delivery.offer("a-1", age=9)
        assert tried is not None
        assert tried.result(10) is False
        assert (systems.scheduled, systems.completed) == ([], [])
        systems.listed = []
        tried = delivery.offer("a-1", age=9)
        assert tried is not None
        assert tried.result(10) is True
    assert len(systems.scheduled) == (limit == "reschedule_after")
    assert systems.completed == (["a-1"] if limit == "lost_after" else [])


def test_the_child_of_an_old_action_is_looked_for_as_far_back(systems: Systems) -> None:
    systems.childless = {"a-1"}
    with closing(new_delivery(systems, replace(SETTINGS, reschedule_after=5))) as delivery:
        assert done(delivery, "a-1", age=9) is True
    since = datetime(2026, 11, 23, 4, 16, 7, tzinfo=timezone.utc)
    assert systems.given == [{"lookup_first_after": 0, "since": since}]


@pytest.mark.parametrize("limit", ["reschedule_after", "lost_after"])
def test_what_is_for_another_stackstorm_is_neither_scheduled_nor_called_lost(
    systems: Systems, limit: str
) -> None:
    systems.childless = {"a-1"}
    settings = replace(SETTINGS, **{limit: 5})
    with closing(new_delivery(systems, settings, elsewhere=True)) as delivery:
        tried = delivery.offer("a-1", age=9)
        assert tried is not None
        assert tried.result(10) is False
    assert (systems.scheduled, systems.completed) == ([], [])


@pytest.mark.parametrize(
    ("what", "status", "closed"),
    [
        ("POST http://st2/v1/executions", 400, True),
        ("POST http://st2/v1/executions", 403, True),
        ("POST http://st2/v1/executions", 429, False),
        ("POST http://st2/v1/executions", 401, False),
        ("POST http://st2/v1/executions", 302, False),
        ("GET http://st2/v1/executions", 400, False),
        ("POST http://st2/auth/v1/tokens", 403, False),
    ],
)
def test_what_is_refused_for_good_is_closed_and_what_is_turned_away_is_not(
    systems: Systems, monkeypatch: pytest.MonkeyPatch, what: str, status: int, closed: bool
) -> None:
    def refused(*given: Any, **more: Any) -> Any:
        raise Answered(*what.split(), status, "no")

    monkeypatch.setattr(systems, "schedule", refused)
    systems.childless = {"a"}
    settings = replace(SETTINGS, reschedule_after=10, lost_after=20)
    with closing(new_delivery(systems, settings)) as made:
        offered = made.offer("a", age=1000)
        assert offered is not None
        assert offered.result(10) is closed
        assert systems.completed == (["a"] if closed else [])
        assert list(made.backoff.failing()) == ([] if closed else ["a"])


@pytest.mark.parametrize(
    ("what", "status", "closed"),
    [
        ("POST http://st2/v1/executions", 500, True),
        ("POST http://st2/v1/executions", 503, False),
        ("POST http://st2/v1/executions", None, False),
        ("GET http://st2/v1/executions", 500, False),
    ],
)
def test_what_stackstorm_answers_500_to_every_time_is_closed(
    systems: Systems, monkeypatch: pytest.MonkeyPatch, what: str, status: int | None, closed: bool
) -> None:
    def broken(*given: Any, **more: Any) -> Any:
        raise OutcomeUnknown(*what.split(), "no", status=status)

    monkeypatch.setattr(systems, "schedule", broken)
    systems.childless = {"a"}
    settings = replace(SETTINGS, reschedule_after=10, lost_after=20)
    with closing(new_delivery(systems, settings)) as made:
        monkeypatch.setattr(made.backoff, "is_due", lambda action: True)
        for times in range(1, 4):
            assert done(made, "a", age=1000) is False
            assert made.backoff.failing()["a"].times == times
        assert done(made, "a", age=1000) is closed
    assert systems.completed == (["a"] if closed else [])


def test_what_is_answered_with_500_may_have_been_made(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **more: Any) -> Any:
        systems.listed = [{"id": "child of a", "status": "running"}]
        raise OutcomeUnknown("POST", "http://st2/v1/executions", "no", status=500)

    monkeypatch.setattr(systems, "schedule", broken)
    systems.childless = {"a"}
    settings = replace(SETTINGS, reschedule_after=10, lost_after=20)
    with closing(new_delivery(systems, settings)) as made:
        monkeypatch.setattr(made.backoff, "is_due", lambda action: True)
        for _ in range(3):
            made.backoff.failed("a")
        assert done(made, "a", age=1000) is False
        assert made._children.snapshot() == {"a": "child of a"}
    assert systems.completed == []


def test_a_500_is_believed_only_of_what_is_old_enough(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **more: Any) -> Any:
        raise OutcomeUnknown("POST", "http://st2/v1/executions", "no", status=500)

    monkeypatch.setattr(systems, "schedule", broken)
    systems.childless = {"a"}
    settings = replace(SETTINGS, reschedule_after=10, lost_after=20)
    with closing(new_delivery(systems, settings)) as made:
        monkeypatch.setattr(made.backoff, "is_due", lambda action: True)
        for _ in range(5):
            assert done(made, "a", age=15) is False
    assert systems.completed == []


def test_what_has_failed_several_times_is_said_to_have_been_tried_enough(
    systems: Systems, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery.backoff, "is_due", lambda action: True)
    for failures in range(4):
        systems.statuses["a"] = "succeeded"
        systems.fail = True
        for _ in range(failures):
            done(delivery, "a")
        systems.fail = False
        assert done(delivery, "a") is True
    assert systems.tried_enough == [False, False, False, True]


def done(delivery: Delivery, action: str, **given: Any) -> bool:
    offered = delivery.offer(action, **given)
    assert offered is not None
    return offered.result(10)


def test_a_failure_is_over_once_the_child_is_seen_at_work(systems: Systems, delivery: Delivery) -> None:
    systems.fail = True
    offered = delivery.offer("a")
    assert offered is not None
    offered.result(10)
    assert list(delivery.backoff.failing()) == ["a"]
    delivery.is_well("a")
    assert delivery.backoff.failing() == {}


class Doubled(Systems):
    """One action, for which there are several children."""

    def __init__(self, **statuses: str) -> None:
        """:param statuses: by the id of a child, in the order in which they were made."""
        super().__init__()
        self.statuses = statuses
        self.asked = 0
        self.unavailable = 0
        self.results: list[tuple[str, str]] = []
        self.cancelled: list[str] = []

    def child(self, execution: str) -> dict[str, Any]:
        found = seen("a", self.statuses[execution]).child
        assert found is not None
        return {**found, "id": execution}

    def look(self, action: str, execution: str | None = None, **given: Any) -> Seen:
        child = given.get("child") or (self.child(execution) if execution else None)
        return replace(seen(action, "running"), child=child, age=given.get("age", 0))

    def get_action(self, action: str) -> Any:
        return seen(action, "running").action

    def find_children(self, action: str, site: str, since: Any) -> list[dict[str, Any]]:
        self.asked += 1
        if self.unavailable:
            self.unavailable -= 1
            raise OutcomeUnknown("GET", "x", "503", status=503)
        return [self.child(execution) for execution in self.statuses]

    def complete_action(self, action: str, state: str, output: Any, **given: Any) -> bool:
        self.results.append((output["st2"]["execution_id"], state))
        return True

    def cancel(self, execution: str) -> bool:
        self.cancelled.append(execution)
        self.statuses[execution] = "canceled"
        return True


def settled(delivery: Delivery, execution: str, **given: Any) -> bool:
    offered = delivery.offer("a", execution, **given)
    assert offered is not None
    return offered.result(10)


@pytest.mark.parametrize("end", ["canceled", "succeeded"])
def test_the_end_of_a_child_that_is_one_too_many_is_not_the_actions(end: str) -> None:
    """It was heard of first, by a relay that has not listed anything yet."""
    systems = Doubled(first="running", second=end)
    with closing(new_delivery(systems)) as delivery:
        assert delivery._children.note("a", "second")
        assert settled(delivery, "second", child=systems.child("second")) is False
        assert (systems.results, systems.cancelled) == ([], [])
        # Now that it has, it knows which one to wait for.
        assert delivery._children.snapshot() == {"a": "first"}
        systems.statuses["first"] = "failed"
        assert settled(delivery, "first") is True
    assert systems.results == [("first", "ERROR")]


def test_the_first_child_may_have_ended_before_the_other_one_did() -> None:
    systems = Doubled(first="succeeded", second="canceled")
    with closing(new_delivery(systems)) as delivery:
        assert settled(delivery, "second") is True
    assert systems.results == [("first", "SUCCESS")]


def test_what_was_listed_as_the_first_is_not_asked_for_again() -> None:
    systems = Doubled(first="succeeded")
    with closing(new_delivery(systems)) as delivery:
        delivery._children.listed("a", "first")
        assert settled(delivery, "first") is True
    assert systems.results == [("first", "SUCCESS")]
    assert systems.asked == 0


def test_who_has_heard_of_all_asks_for_none() -> None:
    systems = Doubled(first="succeeded")
    with closing(new_delivery(systems)) as delivery:
        delivery._children.follow(True)
        delivery._children.compared(delivery._children.stretch())
        delivery._children.note("a", "first")
        assert settled(delivery, "first") is True
    assert systems.results == [("first", "SUCCESS")]
    assert systems.asked == 0


def test_who_cancelled_a_child_may_know_of_an_earlier_one() -> None:
    systems = Doubled(first="running", second="canceled")
    with closing(new_delivery(systems)) as delivery:
        delivery._children.listed("a", "second")
        assert settled(delivery, "second") is False
    assert systems.results == []


def test_a_child_that_is_in_no_listing_any_more_counts() -> None:
    systems = Doubled()
    gone = {**seen("a", "succeeded").child, "id": "gone"}  # type: ignore[dict-item]
    with closing(new_delivery(systems)) as delivery:
        assert settled(delivery, "gone", child=gone) is True
    assert systems.results == [("gone", "SUCCESS")]


def test_of_several_children_those_at_work_are_cancelled_but_the_first() -> None:
    systems = Doubled(first="running", second="succeeded", third="running", fourth="canceling")
    with closing(new_delivery(systems)) as delivery:
        delivery.offer_surplus("a")
        eventually(lambda: not delivery._surplus)
    assert systems.cancelled == ["third"]


def test_duplicates_of_an_action_of_another_project_are_not_cancelled() -> None:
    systems = Doubled(first="running", second="running")
    systems.token = Scope("own")
    with closing(new_delivery(systems)) as delivery:
        delivery.offer_surplus("a")
        eventually(lambda: not delivery._surplus)
    assert (systems.cancelled, systems.asked) == ([], 0)


def test_children_that_cannot_be_looked_at_are_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the one that is waited for is not forgotten meanwhile: the other one would count."""
    systems = Doubled(first="running", second="running")
    systems.unavailable = 1
    with closing(new_delivery(systems)) as delivery:
        delivery._children.note("a", "first")
        delivery.offer_surplus("a")
        eventually(lambda: not delivery._surplus)
        assert delivery._children.snapshot() == {"a": "first"}
        delivery.keep(["a"])
        assert systems.asked == 1
        monkeypatch.setattr(delivery._doubled, "is_due", lambda action: True)
        # Its action may have ended meanwhile.
        delivery.keep([])
        eventually(lambda: systems.cancelled == ["second"] and not delivery._surplus)
        delivery.keep([])
        assert systems.asked == 2


class Large(Doubled):
    """One action, whose child has a result that is left out where it can be."""

    def __init__(self) -> None:
        super().__init__(first="succeeded")
        self.whole: dict[str, Any] | None = {"result": {"stdout": "large"}}
        self.fetching = 0
        self.most = 0
        self.outputs: list[Any] = []

    def child(self, execution: str) -> dict[str, Any]:
        found = {**super().child(execution), "result_size": 2 * 1024 * 1024}
        del found["result"]
        return found

    def look(self, action: str, execution: str | None = None, **given: Any) -> Seen:
        context = {"mistral": {"site": "here", "action_execution_id": action}}
        child = given.get("child") or {**self.child("first"), "context": context}
        return replace(seen(action, "running"), child=child)

    def get_execution(self, execution: str) -> dict[str, Any] | None:
        self.fetching += 1
        self.most = max(self.most, self.fetching)
        time.sleep(0.05)
        return None if self.whole is None else {**self.child(execution), **self.whole}

    def complete_action(self, action: str, state: str, output: Any, **given: Any) -> bool:
        self.fetching -= 1
        self.outputs.append(output)
        return True


def large_delivery(systems: Large) -> Delivery:
    delivery = new_delivery(systems, replace(SETTINGS, workers=8))
    delivery._first_child = lambda action: None  # type: ignore[method-assign]
    return delivery


def test_large_results_are_fetched_one_at_a_time() -> None:
    systems = Large()
    owner = {"context": {"mistral": {"site": "here", "action_execution_id": "a"}}}
    systems.whole = {**owner, "result": {"stdout": "large"}}
    with closing(large_delivery(systems)) as delivery:
        looked = delivery._view.look
        delivery._view.look = lambda action, *given, **more: looked("a", **more)  # type: ignore[method-assign]
        offered = [delivery.offer(f"a-{number}", "first") for number in range(8)]
        assert [future and future.result(10) for future in offered] == [True] * 8
    assert systems.most == 1
    assert {output["stdout"] for output in systems.outputs} == {"large"}


def test_a_large_result_is_not_queued(systems: Systems, delivery: Delivery) -> None:
    kept: list[Any] = []
    look = systems.look

    def noting(action: str, execution: str | None = None, **given: Any) -> Seen:
        kept.append(given["child"])
        return look(action, execution)

    delivery._view.look = noting  # type: ignore[method-assign, assignment]
    for number, size in enumerate((2 * 1024 * 1024, 1000, None)):
        offered = delivery.offer(f"a-{number}", "x", child={"id": "x", "result_size": size})
        assert offered is not None
        offered.result(10)
    assert [child is not None for child in kept] == [False, True, True]


def test_of_a_result_that_cannot_be_read_the_task_gets_the_link() -> None:
    systems = Large()
    systems.whole = {}
    with closing(large_delivery(systems)) as delivery:
        assert settled(delivery, "first") is True
    [output] = systems.outputs
    assert output["st2"]["truncated"]["size_kb"] == 2048


def test_a_large_result_is_not_delivered_to_what_was_given_up_before_its_turn_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    systems = Large()
    look = systems.look

    def retried(action: str, execution: str | None = None, **given: Any) -> Seen:
        tried_again = Place("RUNNING", "RUNNING", newer_attempt=systems.fetching > 0)
        return replace(look(action, execution, **given), place=tried_again)

    monkeypatch.setattr(systems, "look", retried)
    with closing(large_delivery(systems)) as delivery:
        assert settled(delivery, "first") is False
    assert systems.fetching == 1
    assert systems.outputs == []


def test_a_large_result_that_is_gone_when_its_turn_comes_is_missed_the_next_time() -> None:
    systems = Large()
    systems.whole = None
    with closing(large_delivery(systems)) as delivery:
        assert settled(delivery, "first") is False
    assert systems.outputs == []


def _refuse(*given: Any) -> bool:
    raise OutcomeUnknown("PUT", "x", "no")
