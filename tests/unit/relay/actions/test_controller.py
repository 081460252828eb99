"""Reconcile actions: the events that lead to it, and the effects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from support.clock import Clock
from support.relay import SETTINGS, TASK_WORKFLOW, Systems, action, child_of, task
from support.waiting import eventually

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.relay.actions.controller import ActionController
from st2actions_mistral.relay.actions.decide import Close, Complete, Schedule, Wait
from st2actions_mistral.relay.actions.index import LARGE_RESULT
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.no_access import ClosedProjects

POST = "http://st2/v1/executions"


class Parents:
    """Stands in for the controller of parents."""

    def __init__(self) -> None:
        self.completed: list[str] = []

    def on_child_completed(self, child: Mapping[str, Any]) -> None:
        self.completed.append(child["id"])


class Bench:
    """A controller whose keys are worked on when a test says so, by a clock that stands still."""

    def __init__(self, *, elsewhere: bool = False, limit: int = 100, **settings: Any) -> None:
        self.systems = Systems()
        self.st2, self.mistral = self.systems.st2, self.systems.mistral
        self.clients = self.systems.clients
        self.clock = Clock()
        self.metrics = Metrics()
        self.resync = threading.Event()
        self.projects = ClosedProjects()
        self.parents = Parents()
        self.elsewhere = elsewhere
        self.controller = ActionController(
            self.st2,
            self.clients,
            replace(SETTINGS, **settings),
            parse_request=self.parse,
            metrics=self.metrics,
            resync=self.resync,
            parents=self.parents,
            projects=self.projects,
            limit=limit,
            clock=self.clock,
        )
        self.mistral.time = datetime(2026, 11, 23, 5, 16, 7, tzinfo=timezone.utc)
        self.mistral.add({"id": TASK_WORKFLOW, "state": "RUNNING"})

    def parse(self, inputs: Mapping[str, Any], ids: MistralIds) -> ExecutionRequest | None:
        return None if self.elsewhere else ExecutionRequest("core.noop", {}, ids)

    def pending(self, *ids: str, status: str | None = None) -> None:
        """Add pending actions, with a child each if its status is given."""
        self.mistral.add_action(*(action(id_) for id_ in ids))
        self.mistral.add_task(task())
        if status:
            self.st2.add(*(child_of(id_, status) for id_ in ids))

    def event(self, execution: dict[str, Any]) -> None:
        self.st2.add(execution)
        self.controller.on_execution_event(dict(execution))

    def work(self) -> None:
        """Work on all keys that are due."""
        self.clock.advance(0.001)
        self.controller.workers.work(timeout=0)

    def reconcile(self, action_id: str = "a") -> None:
        self.controller.add(action_id)
        self.work()

    def until_retries(self, number: int) -> None:
        """Let time pass until an action has failed so often."""
        for _ in range(1000):
            if self.total("retries") >= number:
                return
            self.clock.advance(1)
            self.work()
        pytest.fail(f"not retried {number} times")

    def total(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"st2_relay_{name}_total") or 0

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(id_, state) for id_, state, _ in self.mistral.completed]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def raises(error: Exception) -> Callable[..., Any]:
    def hook(*_: Any) -> Any:
        raise error

    return hook


# -- results -------------------------------------------------------------------------------------


def test_result_of_an_event_completes_its_action(bench: Bench) -> None:
    bench.pending("a")
    bench.event(child_of("a", "succeeded", result={"stdout": "x"}))
    bench.work()
    [(id_, state, output)] = bench.mistral.completed
    assert (id_, state, output["stdout"]) == ("a", "SUCCESS", "x")
    assert bench.total("completed") == 1
    assert bench.parents.completed == ["child-of-a"]
    assert bench.st2.requests["get_execution"] == 0


def test_events_of_other_executions_are_ignored(bench: Bench) -> None:
    bench.pending("a")
    bench.event({"id": "x", "status": "succeeded", "context": {}, "result": {}})
    bench.event({"id": "y", "status": "succeeded", "result": {}})
    bench.work()
    assert not bench.mistral.requests


def test_unfinished_child_is_only_remembered(bench: Bench) -> None:
    bench.pending("a")
    bench.event(child_of("a"))
    bench.work()
    assert not bench.mistral.requests
    bench.reconcile()
    assert bench.mistral.completed == []
    assert bench.parents.completed == []


def test_event_without_a_result_makes_the_relay_fetch_the_execution(bench: Bench) -> None:
    bench.pending("a")
    bench.st2.add(child_of("a", "succeeded", result={"stdout": "x"}))
    bare = child_of("a", "succeeded")
    del bare["result"]
    bench.controller.on_execution_event(bare)
    bench.work()
    [(_, _, output)] = bench.mistral.completed
    assert output["stdout"] == "x"


def test_action_that_is_complete_already_is_not_counted(bench: Bench) -> None:
    bench.pending("a")
    bench.mistral.hooks["complete_action"] = lambda id_, *_: bench.mistral.actions[id_].update(
        state="SUCCESS"
    )
    bench.event(child_of("a", "succeeded"))
    bench.work()
    assert bench.total("completed") == 0
    # The parent must know all the same: another relay may have completed it.
    assert bench.parents.completed == ["child-of-a"]


def test_change_during_the_work_on_an_action_is_worked_on_afterwards(bench: Bench) -> None:
    bench.pending("a")
    bench.event(child_of("a"))

    def ends(*_: Any) -> None:
        if bench.st2.executions["child-of-a"]["status"] == "running":
            bench.event(child_of("a", "succeeded"))

    bench.mistral.hooks["find_action"] = ends
    bench.reconcile()
    assert bench.states == [("a", "SUCCESS")]


def test_lag_is_the_age_of_the_oldest_result_that_is_not_delivered(bench: Bench) -> None:
    assert bench.controller.lag() == 0
    bench.pending("a", "b")
    bench.mistral.hooks["complete_action"] = raises(OutcomeUnknown("PUT", "x", "no"))
    bench.event(child_of("a", "succeeded"))
    bench.work()
    bench.clock.advance(0.2)
    assert bench.controller.lag() == pytest.approx(0.2, abs=0.01)
    del bench.mistral.hooks["complete_action"]
    bench.clock.advance(1)
    bench.work()
    assert bench.controller.lag() == 0


def test_lag_counts_from_the_event(bench: Bench) -> None:
    """A result that waits for a worker is late too."""
    bench.pending("a")
    bench.event(child_of("a", "succeeded"))
    bench.clock.advance(0.2)
    assert bench.controller.lag() == pytest.approx(0.2)
    bench.work()
    assert bench.controller.lag() == 0


def test_lag_forgets_actions_that_are_not_pending_any_more(bench: Bench) -> None:
    bench.pending("a")
    bench.mistral.hooks["complete_action"] = raises(OutcomeUnknown("PUT", "x", "no"))
    bench.event(child_of("a", "succeeded"))
    bench.work()
    bench.clock.advance(0.2)
    bench.mistral.actions["a"]["state"] = "SUCCESS"
    bench.controller.resync(full=True)
    bench.clock.advance(1)
    bench.work()
    assert bench.controller.lag() == 0


# -- failures ------------------------------------------------------------------------------------


def test_failure_is_retried_after_a_backoff_and_others_are_not_delayed(bench: Bench) -> None:
    bench.pending("a", "b")
    broken = OutcomeUnknown("PUT", "x", "no")
    bench.mistral.hooks["complete_action"] = lambda id_, *_: raises(broken)() if id_ == "a" else None
    bench.event(child_of("a", "succeeded"))
    bench.event(child_of("b", "succeeded"))
    bench.work()
    bench.reconcile("a")
    assert bench.states == [("a", "SUCCESS"), ("b", "SUCCESS")]
    failure = bench.controller.failing()["a"]
    assert (failure.times, failure.reason) == (1, "PUT x: no")
    del bench.mistral.hooks["complete_action"]
    bench.clock.advance(1)
    bench.work()
    assert bench.states[2:] == [("a", "SUCCESS")]
    assert bench.controller.failing() == {}
    assert bench.total("retries") == 1


def test_unexpected_error_is_logged_and_retried(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.pending("a")
    bench.mistral.hooks["complete_action"] = raises(ZeroDivisionError("no"))
    bench.event(child_of("a", "succeeded"))
    bench.work()
    assert "Traceback" in caplog.text
    assert bench.controller.failing()["a"].reason == "ZeroDivisionError"


def test_output_counts_as_the_reason_only_after_several_failures(bench: Bench) -> None:
    """Then it is truncated, see ``bridge.complete_action``."""
    bench.pending("a")
    bench.mistral.hooks["complete_action"] = lambda id_, state, output: (
        None if set(output) == {"st2"} else raises(Answered("PUT", "x", 403, "no"))()
    )
    bench.event(child_of("a", "succeeded", result={"stdout": "x"}))
    bench.until_retries(3)
    assert bench.total("completed") == 0
    bench.clock.advance(10)
    bench.work()
    assert bench.total("completed") == 1
    assert bench.controller.failing() == {}


def test_resync_clears_failures_of_an_action_whose_child_runs(bench: Bench) -> None:
    bench.pending("a", status="running")
    bench.mistral.hooks["find_action"] = raises(OutcomeUnknown("GET", "x", "no"))
    bench.reconcile()
    assert list(bench.controller.failing()) == ["a"]
    bench.controller.resync(full=True)
    assert bench.controller.failing() == {}


def test_full_queue_asks_for_a_resync_once_it_has_room() -> None:
    bench = Bench(limit=4)
    names = [f"a-{number}" for number in range(6)]
    bench.pending(*names)
    for name in names:
        bench.event(child_of(name, "succeeded"))
    assert not bench.resync.is_set()
    bench.work()
    assert [id_ for id_, _ in bench.states] == names[:4]
    assert bench.resync.is_set()
    bench.controller.resync(full=True)
    bench.work()
    assert {id_ for id_, _ in bench.states} == set(names)


# -- lost actions --------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["reschedule_after", "lost_after"])
def test_child_that_no_listing_had_is_found_before_anything_follows(limit: str) -> None:
    bench = Bench(**{"lost_after": 0, limit: 5})
    bench.pending("a", status="running")
    bench.reconcile()
    assert (bench.st2.requests["post_execution_once"], bench.states) == (0, [])
    bench.st2.executions.clear()
    other = Bench(**{"lost_after": 0, limit: 5})
    other.pending("a")
    other.reconcile()
    rescheduled = limit == "reschedule_after"
    assert other.total("rescheduled") == rescheduled
    assert other.states == ([] if rescheduled else [("a", "ERROR")])
    assert other.total("lost") == (not rescheduled)


@pytest.mark.parametrize("limit", ["reschedule_after", "lost_after"])
def test_lost_action_for_another_stackstorm_is_left_alone(limit: str) -> None:
    bench = Bench(elsewhere=True, **{"lost_after": 0, limit: 5})
    bench.pending("a")
    bench.reconcile()
    assert (bench.st2.requests["post_execution_once"], bench.states) == (0, [])


def test_rescheduled_execution_is_looked_up_before_it_is_created() -> None:
    bench = Bench(reschedule_after=5)
    bench.pending("a")
    found: list[dict[str, Any]] = []

    def late(*_: Any) -> None:
        found.append(child_of("a"))
        if len(found) == 2:
            bench.st2.add(found[0])

    bench.st2.hooks["find_children"] = late
    bench.reconcile()
    assert bench.st2.requests["post_execution_once"] == 0
    assert bench.total("rescheduled") == 1


@pytest.mark.parametrize(
    ("status", "state"), [(400, "ERROR"), (403, "ERROR"), (429, None), (401, None)]
)
def test_rejected_action_is_closed_and_one_that_is_turned_away_is_retried(
    status: int, state: str | None
) -> None:
    bench = Bench(reschedule_after=10, lost_after=20)
    bench.pending("a")
    bench.st2.hooks["post_execution_once"] = raises(Answered("POST", POST, status, "no"))
    bench.reconcile()
    assert bench.states == ([("a", state)] if state else [])
    assert list(bench.controller.failing()) == ([] if state else ["a"])


@pytest.mark.parametrize(
    ("error", "closed"),
    [
        (OutcomeUnknown("POST", POST, "no", status=500), True),
        (OutcomeUnknown("POST", POST, "no", status=503), False),
        (OutcomeUnknown("POST", POST, "no"), False),
        (NotSent("POST", POST, "no"), False),
    ],
)
def test_action_that_stackstorm_always_answers_with_500_is_closed(
    error: RemoteError, closed: bool
) -> None:
    bench = Bench(reschedule_after=10, lost_after=20)
    bench.pending("a")
    bench.st2.hooks["post_execution_once"] = raises(error)
    bench.controller.add("a")
    bench.until_retries(3)
    assert bench.states == []
    bench.clock.advance(10)
    bench.work()
    assert bench.states == ([("a", "ERROR")] if closed else [])


def test_500_after_other_failures_does_not_close_an_action() -> None:
    """StackStorm was down, and answers 500 while it starts."""
    bench = Bench(reschedule_after=10, lost_after=20)
    bench.pending("a")
    bench.st2.hooks["post_execution_once"] = raises(NotSent("POST", POST, "refused"))
    bench.controller.add("a")
    bench.until_retries(5)
    bench.st2.hooks["post_execution_once"] = raises(OutcomeUnknown("POST", POST, "no", status=500))
    bench.until_retries(7)
    assert bench.states == []
    bench.st2.hooks.clear()
    bench.clock.advance(300)
    bench.work()
    assert bench.total("rescheduled") == 1


def test_execution_that_was_created_although_stackstorm_answered_500_counts() -> None:
    bench = Bench(reschedule_after=10, lost_after=20)
    bench.pending("a")
    posts = 0

    def broken(*_: Any) -> None:
        nonlocal posts
        posts += 1
        if posts == 4:
            bench.st2.add(child_of("a"))
        raise OutcomeUnknown("POST", POST, "no", status=500)

    bench.st2.hooks["post_execution_once"] = broken
    bench.controller.add("a")
    bench.until_retries(3)
    bench.clock.advance(10)
    bench.work()
    assert posts == 4
    assert bench.states == []
    assert bench.controller.failing() == {}


# -- the first child -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["canceled", "succeeded"])
def test_result_of_a_duplicate_is_not_delivered(bench: Bench, end: str) -> None:
    """Its event was the first one of a relay that has listed nothing yet."""
    bench.pending("a")
    bench.st2.add(child_of("a", id_="first"))
    bench.event(child_of("a", end, id_="second"))
    bench.work()
    assert bench.states == []
    # Now the relay knows which one counts.
    bench.event(child_of("a", "failed", id_="first"))
    bench.work()
    assert bench.states == [("a", "ERROR")]
    assert bench.parents.completed == ["first"]


def test_first_child_may_have_ended_before_its_duplicate(bench: Bench) -> None:
    bench.pending("a")
    bench.st2.add(child_of("a", "succeeded", id_="first"))
    bench.event(child_of("a", "canceled", id_="second"))
    bench.work()
    assert bench.parents.completed == ["first"]


def test_children_are_not_listed_again_after_a_resync(bench: Bench) -> None:
    bench.pending("a", status="running")
    bench.controller.resync(full=True)
    bench.event(child_of("a", "succeeded"))
    bench.work()
    assert bench.states == [("a", "SUCCESS")]
    assert bench.st2.requests["find_children"] == 0


def test_children_are_not_listed_while_the_stream_is_complete(bench: Bench) -> None:
    bench.controller.on_streaming(True)
    bench.controller.resync(full=True)
    bench.pending("a", "b")
    bench.event(child_of("a", "succeeded"))
    bench.work()
    assert bench.st2.requests["find_children"] == 0
    bench.controller.on_streaming(False)
    bench.event(child_of("b", "succeeded"))
    bench.work()
    assert bench.st2.requests["find_children"] == 1
    assert bench.states == [("a", "SUCCESS"), ("b", "SUCCESS")]


def test_relay_that_sees_a_cancelled_child_looks_for_an_earlier_one(bench: Bench) -> None:
    """Another relay may have cancelled it as a duplicate."""
    bench.pending("a")
    bench.st2.add(child_of("a", id_="second"))
    bench.controller.resync(full=True)
    bench.st2.executions.clear()
    bench.st2.add(child_of("a", id_="first"))
    bench.event(child_of("a", "canceled", id_="second"))
    bench.work()
    assert bench.states == []


# -- orphans and duplicates ----------------------------------------------------------------------


def test_orphaned_child_is_cancelled(bench: Bench) -> None:
    bench.pending("a", status="running")
    bench.mistral.workflows[TASK_WORKFLOW]["state"] = "CANCELLED"
    bench.controller.resync(full=True)
    bench.work()
    assert bench.st2.cancelled == ["child-of-a"]
    assert bench.total("cancelled") == 1


def test_unwanted_inquiry_is_reported_once_and_its_action_is_closed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.pending("a", status="pending")
    inquiry = bench.st2.executions["child-of-a"]
    inquiry["parent"] = "middle"
    bench.st2.add({"id": "middle", "status": "paused", "parent": "root"})
    bench.st2.add({"id": "root", "status": "paused"})
    bench.mistral.task_executions["t"]["state"] = "ERROR"
    for _ in range(3):
        bench.controller.resync(full=True)
        bench.work()
    assert bench.st2.cancelled == [], "StackStorm would refuse it"
    assert bench.st2.executions["root"]["status"] == "resuming"
    assert bench.st2.requests["change_status"] == 1
    assert bench.states == [("a", "CANCELLED")]
    assert caplog.text.count("StackStorm execution child-of-a stays pending") == 1


def test_refused_cancel_is_reported(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.pending("a", status="running")
    bench.mistral.workflows[TASK_WORKFLOW]["state"] = "CANCELLED"
    bench.st2.hooks["cancel"] = lambda id_: bench.st2.executions[id_].update(status="pending")
    bench.controller.resync(full=True)
    bench.work()
    assert "did not cancel execution child-of-a, because it is pending" in caplog.text
    bench.controller.resync(full=True)
    bench.work()
    assert bench.st2.requests["cancel"] == 1
    assert bench.states == [("a", "CANCELLED")]


def test_action_without_a_child_that_is_given_up_is_closed(bench: Bench) -> None:
    bench.pending("a")
    bench.mistral.workflows[TASK_WORKFLOW]["state"] = "CANCELLED"
    bench.controller.resync(full=True)
    bench.work()
    assert bench.states == [("a", "CANCELLED")]
    assert bench.mistral.completed[0][2] == {"error": "It was never run: its workflow is cancelled."}


def test_child_of_a_deleted_action_is_cancelled_if_the_action_was_pending(bench: Bench) -> None:
    bench.pending("mine", status="running")
    bench.controller.resync(full=True)
    bench.st2.add(child_of("other"))
    bench.mistral.actions.clear()
    for _ in range(2):
        bench.controller.resync(full=True)
        bench.work()
    assert bench.st2.cancelled == ["child-of-mine"]


def test_child_that_cannot_be_cancelled_keeps_its_failures(bench: Bench) -> None:
    """Otherwise it would be tried at each resync, although its action is not pending any more."""
    bench.pending("a", status="running")
    bench.controller.resync(full=True)
    bench.mistral.actions["a"]["state"] = "ERROR"
    bench.st2.hooks["cancel"] = raises(OutcomeUnknown("DELETE", "x", "no"))
    bench.controller.resync(full=True)
    bench.work()
    bench.controller.resync(full=True)
    bench.work()
    assert bench.controller.failing()["a"].times == 1
    assert bench.st2.requests["cancel"] == 1


@pytest.mark.parametrize("found_by", ["event", "resync", "delivery"])
def test_duplicates_are_cancelled(bench: Bench, found_by: str) -> None:
    bench.pending("a")
    statuses = {"1": "running", "2": "succeeded", "3": "running", "4": "canceling"}
    children = [child_of("a", status, id_=id_) for id_, status in statuses.items()]
    if found_by == "event":
        for child in children:
            bench.event(child)
    else:
        bench.st2.add(*children)
        if found_by == "resync":
            bench.controller.resync(full=True)
        else:
            bench.event(child_of("a", "succeeded", id_="2"))
    bench.work()
    assert bench.st2.cancelled == ["3"]
    assert bench.total("duplicates") == 1
    assert bench.states == []


def test_duplicates_that_cannot_be_listed_are_retried(bench: Bench) -> None:
    """The first child still counts meanwhile."""
    bench.pending("a")
    bench.st2.hooks["find_children"] = raises(OutcomeUnknown("GET", "x", "503", status=503))
    bench.event(child_of("a", id_="first"))
    bench.event(child_of("a", id_="second"))
    bench.work()
    assert list(bench.controller.failing()) == ["a"]
    del bench.st2.hooks["find_children"]
    # Its action may have ended meanwhile.
    bench.mistral.actions.clear()
    bench.clock.advance(1)
    bench.work()
    assert bench.st2.cancelled == ["second"]
    assert bench.controller.failing() == {}


def test_nothing_is_done_for_actions_of_another_project(bench: Bench) -> None:
    bench.pending("a")
    bench.mistral.actions["a"]["project_id"] = "other"
    bench.clients.authenticate("own")
    bench.event(child_of("a", id_="first"))
    bench.event(child_of("a", id_="second"))
    bench.reconcile()
    assert (bench.st2.cancelled, bench.states) == ([], [])
    assert bench.st2.requests["find_children"] == 0
    assert list(bench.projects.failing()) == ["project 'other'"]


# -- large results -------------------------------------------------------------------------------


def large(action_id: str = "a", **more: Any) -> dict[str, Any]:
    size = LARGE_RESULT + 1
    return child_of(action_id, "succeeded", result_size=size, result={"stdout": "large"}, **more)


def test_large_results_are_fetched_one_at_a_time() -> None:
    bench = Bench(workers=8)
    names = [f"a-{number}" for number in range(8)]
    bench.pending(*names)
    fetched: list[str] = []
    lock = threading.Lock()
    in_memory = most = 0

    def fetch(id_: str) -> None:
        nonlocal in_memory, most
        with lock:
            if id_ in fetched:
                in_memory += 1
                most = max(most, in_memory)
            fetched.append(id_)

    def complete(*_: Any) -> None:
        nonlocal in_memory
        # Long enough for another worker to fetch its own.
        threading.Event().wait(0.02)
        with lock:
            in_memory -= 1

    bench.st2.hooks["get_execution"] = fetch
    bench.mistral.hooks["complete_action"] = complete
    for name in names:
        bench.event(large(name))
    with ThreadPoolExecutor(8) as pool:
        for _ in names:
            pool.submit(bench.controller.workers.work, 0)
    assert len(bench.mistral.completed) == 8
    assert {output["stdout"] for _, _, output in bench.mistral.completed} == {"large"}
    assert most == 1


def test_link_is_delivered_for_a_result_that_cannot_be_read(bench: Bench) -> None:
    bench.pending("a")
    unreadable = large()
    del unreadable["result"]
    bench.event(unreadable)
    bench.work()
    [(_, _, output)] = bench.mistral.completed
    assert set(output) == {"st2"}


def test_large_result_is_not_delivered_if_its_action_was_retried_meanwhile(bench: Bench) -> None:
    bench.pending("a")

    def fetch(*_: Any) -> None:
        if bench.st2.requests["get_execution"] == 2:
            bench.clock.advance(1)
            bench.mistral.add_action(action("b", created_at="2026-11-23 04:16:09"))

    bench.st2.hooks["get_execution"] = fetch
    bench.event(large())
    bench.work()
    assert bench.st2.requests["get_execution"] == 2
    assert bench.states == []


def test_large_result_that_was_deleted_meanwhile_is_missing(bench: Bench) -> None:
    bench.pending("a")

    def fetch(*_: Any) -> None:
        if bench.st2.requests["get_execution"] == 2:
            bench.st2.executions.clear()

    bench.st2.hooks["get_execution"] = fetch
    bench.event(large())
    bench.work()
    assert bench.states == []


# -- repair --------------------------------------------------------------------------------------


def test_repair_delivers_the_result_of_the_first_child(bench: Bench) -> None:
    bench.pending("a")
    bench.st2.add(child_of("a", "failed", id_="1"), child_of("a", "succeeded", id_="2"))
    assert isinstance(bench.controller.repair("a"), Complete)
    assert bench.states == [("a", "ERROR")]


def test_repair_cancels_duplicates(bench: Bench) -> None:
    bench.pending("a")
    bench.st2.add(child_of("a", "running", id_="1"), child_of("a", "running", id_="2"))
    bench.controller.repair("a")
    assert bench.st2.cancelled == ["2"]


def test_repair_leaves_a_young_action_to_its_executor() -> None:
    bench = Bench(reschedule_after=120)
    bench.pending("a")
    bench.mistral.time = datetime(2026, 11, 23, 4, 17, 7, tzinfo=timezone.utc)
    effect = bench.controller.repair("a")
    assert isinstance(effect, Wait)
    assert effect.until == 120
    assert isinstance(bench.controller.repair("a", force=True), Schedule)
    assert bench.total("rescheduled") == 1


def test_repair_closes_a_lost_action_that_stackstorm_rejects() -> None:
    """Repair treats an action as if it had waited for ``lost_after``."""
    bench = Bench(reschedule_after=120, lost_after=10_000_000)
    bench.pending("a")
    bench.st2.hooks["post_execution_once"] = raises(Answered("POST", POST, 400, "no such action"))
    assert isinstance(bench.controller.repair("a"), Close)


def test_repair_raises_what_keeps_it_from_working() -> None:
    bench = Bench(reschedule_after=120)
    bench.pending("a")
    bench.st2.hooks["post_execution_once"] = raises(Answered("POST", POST, 401, "no"))
    with pytest.raises(Answered):
        bench.controller.repair("a")


def workers() -> int:
    return sum(thread.name.startswith("actions-") for thread in threading.enumerate())


def test_close_finishes_what_was_begun_and_drops_the_rest(bench: Bench) -> None:
    bench.pending("a", "b", "c")
    begun, may_go_on = threading.Event(), threading.Event()

    def complete(*_: Any) -> None:
        begun.set()
        assert may_go_on.wait(10)

    bench.mistral.hooks["complete_action"] = complete
    bench.controller.workers.start()
    bench.event(child_of("a", "succeeded"))
    assert begun.wait(10)
    closing = threading.Thread(target=bench.controller.workers.close)
    closing.start()
    eventually(lambda: workers() == 1, "The idle worker ends")
    bench.event(child_of("b", "succeeded"))
    may_go_on.set()
    closing.join(10)
    assert not closing.is_alive()
    assert bench.states == [("a", "SUCCESS")]
