"""Test when parents are reconciled, and what is done for them."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from support.clock import Clock
from support.relay import (
    PARENT,
    SETTINGS,
    WORKFLOW,
    Systems,
    action,
    child,
    child_of,
    parent,
    task,
    workflow,
)
from support.waiting import eventually

from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import states
from st2actions_mistral.model.links import workflow_execution_id
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.no_access import ClosedProjects
from st2actions_mistral.relay.parents.controller import ParentController

OTHER = "a" * 24
OTHER_WORKFLOW = workflow_execution_id(OTHER)


class Bench:
    """A controller without workers, and a clock that a test advances."""

    def __init__(self, systems: Systems | None = None, **given: Any) -> None:
        self.systems = systems or Systems(parent(), workflows=[workflow()])
        self.st2, self.mistral = self.systems.st2, self.systems.mistral
        self.clock = Clock()
        self.metrics = Metrics()
        self.resync = threading.Event()
        self.projects = ClosedProjects()
        self.hints = Hints()
        self.controller = ParentController(
            self.st2,
            self.systems.clients,
            SETTINGS,
            metrics=self.metrics,
            projects=self.projects,
            hints=self.hints,
            resync=self.resync,
            clock=self.clock,
            **given,
        )

    @property
    def parent(self) -> dict[str, Any]:
        return self.st2.executions[PARENT]

    @property
    def workflow(self) -> dict[str, Any]:
        return self.mistral.workflows[WORKFLOW]

    def work(self) -> None:
        """Reconcile all keys that are due."""
        self.controller.workers.work(timeout=0)

    def reconcile(self) -> None:
        self.controller.add(PARENT)
        self.work()

    def after(self, seconds: float) -> None:
        """Let time pass, and do what becomes due meanwhile."""
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)
            self.work()

    def total(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"st2_relay_{name}_total") or 0


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_parent_finishes_after_last_result(bench: Bench) -> None:
    bench.controller.on_child_completed(child())
    bench.after(0.06)
    assert bench.parent["status"] == "running"
    bench.workflow["state"] = states.SUCCESS
    bench.after(0.1)
    assert bench.parent["status"] == "succeeded"
    assert bench.parent["result"]["state"] == "SUCCESS"
    assert bench.total("finished") == 1


def test_end_that_the_notifier_knows_of_is_left_to_it_at_first(bench: Bench) -> None:
    bench.workflow["params"] = json.dumps({"notify": [{"type": "st2"}]})
    bench.controller.on_child_completed(child())
    bench.workflow["state"] = states.SUCCESS
    bench.after(4.9)
    assert bench.parent["status"] == "running"
    assert not bench.st2.results
    bench.after(0.2)
    assert bench.parent["status"] == "succeeded"
    assert len(bench.st2.results) == 1


def test_parent_that_the_notifier_finishes_is_finished_once(bench: Bench) -> None:
    bench.workflow["params"] = json.dumps({"notify": [{"type": "st2"}]})
    bench.workflow["state"] = states.SUCCESS
    bench.reconcile()
    bench.parent["status"] = "succeeded"
    bench.controller.on_execution_event(bench.parent)
    bench.after(60)
    bench.controller.resync()
    bench.after(60)
    assert not bench.st2.results


def test_new_end_is_left_to_the_notifier_again(bench: Bench) -> None:
    bench.workflow["params"] = json.dumps({"notify": [{"type": "st2"}]})
    bench.workflow["state"] = states.ERROR
    bench.reconcile()
    bench.after(4)
    bench.workflow["state"] = states.RUNNING
    bench.reconcile()
    bench.workflow["state"] = states.SUCCESS
    bench.reconcile()
    bench.after(4)
    assert bench.parent["status"] == "running"
    bench.after(1.1)
    assert bench.parent["status"] == "succeeded"


@pytest.mark.parametrize(
    "orphan", [{"id": "c", "context": {}}, {"id": "c", "context": {"parent": {"execution_id": OTHER}}}]
)
def test_child_of_unknown_parent_is_observed_once_at_most(bench: Bench, orphan: dict[str, Any]) -> None:
    bench.controller.on_child_completed(orphan)
    bench.after(60)
    assert bench.st2.requests["get_execution"] <= 1
    assert not bench.mistral.requests


def test_canceled_parent_cancels_its_workflow(bench: Bench) -> None:
    bench.parent["status"] = "canceled"
    bench.controller.on_execution_event(parent(OTHER, status="canceled", site="elsewhere"))
    bench.controller.on_execution_event({**child(OTHER), "status": "canceled"})
    bench.work()
    assert not bench.st2.requests
    bench.controller.on_execution_event(bench.parent)
    bench.work()
    assert bench.workflow["state"] == states.CANCELLED
    assert bench.total("stopped_workflows") == 1
    assert bench.resync.is_set(), "its children are to be found"
    bench.after(1)
    assert bench.st2.results == []


def test_running_parent_is_observed_and_final_one_is_not(bench: Bench) -> None:
    bench.controller.on_execution_event(bench.parent)
    bench.controller.on_execution_event({**bench.parent, "status": "succeeded"})
    bench.after(60)
    assert not bench.st2.requests
    bench.controller.on_execution_event(bench.parent)
    bench.after(1)
    assert bench.st2.requests["get_execution"]


def test_canceling_parent_is_canceled_with_its_workflow(bench: Bench) -> None:
    bench.parent["status"] = "canceling"
    bench.reconcile()
    bench.after(0.1)
    assert bench.workflow["state"] == states.CANCELLED
    assert bench.parent["status"] == "canceled"
    assert bench.total("finished") == 1


def test_parent_stays_canceling_until_its_runner_responds(bench: Bench) -> None:
    bench.workflow["state"] = states.CANCELLED
    bench.st2.asks_runner = True
    bench.reconcile()
    assert bench.parent["status"] == "canceling"
    bench.after(1)
    assert len(bench.st2.results) >= 2
    assert bench.total("finished") == 0
    bench.st2.asks_runner = False
    bench.after(5)
    assert bench.parent["status"] == "canceled"
    assert bench.total("finished") == 1


def test_result_of_callback_is_kept(bench: Bench) -> None:
    bench.workflow["state"] = states.SUCCESS

    def callback_is_faster(*_: Any) -> None:
        bench.parent["status"] = "failed"

    bench.st2.hooks["finish"] = callback_is_faster
    bench.reconcile()
    bench.after(60)
    assert bench.parent["status"] == "failed"
    assert len(bench.st2.results) == 1
    assert bench.total("finished") == 0


def fail(*_: Any) -> None:
    raise OutcomeUnknown("GET", "x", "no")


def test_failure_is_retried_after_backoff(bench: Bench) -> None:
    bench.st2.hooks["get_execution"] = fail
    bench.reconcile()
    for _ in range(10):
        bench.controller.add(PARENT)
        bench.controller.on_child_completed(child())
    bench.after(0.4)
    assert bench.st2.requests["get_execution"] == 1
    assert bench.total("retries") == 1
    assert bench.controller.failing()[PARENT].times == 1
    bench.st2.hooks.clear()
    bench.workflow["state"] = states.ERROR
    bench.after(1)
    assert bench.parent["status"] == "failed"
    assert bench.controller.failing() == {}


def test_failed_cancel_is_retried_although_workflow_runs(bench: Bench) -> None:
    bench.reconcile()
    bench.parent["status"] = "canceled"
    bench.mistral.hooks["change_state"] = fail
    bench.reconcile()
    bench.mistral.hooks.clear()
    bench.after(1)
    assert bench.workflow["state"] == states.CANCELLED


def test_result_is_truncated_only_after_several_failures(bench: Bench) -> None:
    bench.workflow["state"] = states.SUCCESS

    def reject_full_result(_id: str, _status: str, result: Any) -> None:
        if "truncated" not in result["mistral"]:
            raise OutcomeUnknown("PUT", "x", "500", status=500)

    bench.st2.hooks["finish"] = reject_full_result
    for failures in (1, 2, 3):
        bench.reconcile()
        assert bench.total("retries") == failures
        assert len(bench.st2.results) == failures
        bench.clock.advance(10)
    bench.reconcile()
    assert bench.parent["status"] == "succeeded"
    assert ["truncated" in result["mistral"] for result in bench.st2.results] == [False] * 4 + [True]


def test_unexpected_error_is_retried_too(bench: Bench) -> None:
    def break_(*_: Any) -> None:
        raise ValueError("ours")

    bench.st2.hooks["get_execution"] = break_
    bench.reconcile()
    assert bench.controller.failing()[PARENT].reason == "ValueError"
    bench.st2.hooks.clear()
    bench.workflow["state"] = states.SUCCESS
    bench.after(1)
    assert bench.parent["status"] == "succeeded"


def test_deleted_parent_is_no_failure(bench: Bench) -> None:
    bench.workflow["state"] = states.SUCCESS

    def gone(*_: Any) -> None:
        raise Answered("PUT", "x", 404, "no")

    bench.st2.hooks["finish"] = gone
    bench.reconcile()
    bench.after(60)
    assert len(bench.st2.results) == 1
    assert bench.total("retries") == bench.total("finished") == 0


def test_missing_workflow_is_lost_after_lost_after(bench: Bench) -> None:
    del bench.mistral.workflows[WORKFLOW]
    bench.reconcile()
    bench.clock.advance(599)
    bench.reconcile()
    assert bench.st2.results == []
    bench.clock.advance(1)
    bench.reconcile()
    assert bench.parent["status"] == "failed"
    assert "does not know" in bench.parent["result"]["mistral"]["state_info"]


def test_lost_after_restarts_when_workflow_reappears(bench: Bench) -> None:
    whole = bench.mistral.workflows.pop(WORKFLOW)
    bench.reconcile()
    bench.clock.advance(400)
    bench.mistral.add(whole)
    bench.reconcile()
    del bench.mistral.workflows[WORKFLOW]
    for _ in range(2):
        bench.clock.advance(400)
        bench.reconcile()
    assert bench.st2.results == []


def test_key_added_during_observation_is_observed_once_more(bench: Bench) -> None:
    def add(*_: Any) -> None:
        del bench.st2.hooks["get_execution"]
        for _ in range(5):
            bench.controller.add(PARENT)

    bench.st2.hooks["get_execution"] = add
    bench.reconcile()
    assert bench.st2.requests["get_execution"] == 2


def test_number_of_waiting_keys_is_bounded() -> None:
    bench = Bench(limit=5)
    for number in range(20):
        bench.controller.add(f"{number:024x}")
    bench.work()
    assert bench.st2.requests["get_execution"] == 5


def test_resync_finishes_parents_and_cancels_sub_workflows_left_running() -> None:
    below = workflow("sub", description="", root_execution_id=OTHER_WORKFLOW)
    root = workflow(OTHER_WORKFLOW, OTHER, states.CANCELLED)
    workflows = [workflow(state="SUCCESS"), root, below]
    bench = Bench(Systems(parent(), parent(OTHER, "gone"), workflows=workflows))
    assert bench.controller.resync() == 2
    bench.work()
    assert bench.parent["status"] == "succeeded"
    assert bench.mistral.workflows["sub"]["state"] == states.CANCELLED
    assert bench.total("stopped_workflows") == 1
    bench.after(60)
    assert bench.mistral.requests["change_state"] == 1


def test_sub_workflow_that_cannot_be_cancelled_delays_no_other_key() -> None:
    below = workflow("sub", description="", root_execution_id=OTHER_WORKFLOW)
    root = workflow(OTHER_WORKFLOW, OTHER, states.CANCELLED)
    bench = Bench(Systems(parent(), workflows=[workflow(state="SUCCESS"), root, below]))
    bench.mistral.hooks["change_state"] = fail
    bench.controller.resync()
    bench.work()
    assert bench.parent["status"] == "succeeded"
    assert "sub" in bench.controller.failing()
    del bench.mistral.workflows["sub"]
    bench.controller.resync()
    assert not bench.controller.failing()


def test_resync_drops_failures_of_executions_that_do_not_wait(bench: Bench) -> None:
    bench.st2.hooks["get_execution"] = fail
    bench.reconcile()
    bench.controller.resync()
    assert PARENT in bench.controller.failing()
    bench.parent["status"] = "succeeded"
    bench.controller.resync()
    assert not bench.controller.failing()


def test_workflow_without_access_is_reported_and_not_cancelled(bench: Bench) -> None:
    bench.systems.clients.authenticate("own")
    bench.workflow["project_id"] = "other"
    bench.parent["status"] = "canceled"
    bench.reconcile()
    assert bench.workflow["state"] == states.RUNNING
    assert "project 'other'" in bench.projects.failing()


@pytest.mark.parametrize("old", [False, True])
def test_workflow_is_cancelled_with_a_token_of_its_project(bench: Bench, old: bool) -> None:
    bench.systems.clients.authenticate("a", old=old)
    bench.workflow["project_id"] = "a"
    # A resync shows the project.
    bench.controller.resync()
    bench.parent["status"] = "canceled"
    bench.reconcile()
    assert bench.systems.clients.changes == [("a", WORKFLOW)]
    assert bench.workflow["state"] == states.CANCELLED


def test_workflow_is_found_in_the_project_that_its_parent_names(bench: Bench) -> None:
    bench.systems.clients.authenticate("a", admin=False)
    bench.workflow.update(project_id="a", state=states.SUCCESS)
    bench.parent["context"]["mistral_workflow"]["project_id"] = "a"
    bench.reconcile()
    assert bench.parent["status"] == "succeeded"


def test_workflow_is_cancelled_with_the_trust_of_its_children(bench: Bench) -> None:
    hints = bench.hints
    bench.systems.clients.authenticate(trusts={"t": "a"})
    bench.workflow["project_id"] = "a"
    bench.parent["status"] = "canceled"
    bench.reconcile()
    assert bench.systems.clients.changes == []
    hints.learn_child("x", child_of("x", trust="t", workflow=WORKFLOW))
    bench.reconcile()
    assert bench.systems.clients.changes == [("a", WORKFLOW)]


def test_end_of_a_workflow_is_reported_without_access_where_an_administrator_may_read_it(
    bench: Bench,
) -> None:
    """It changes nothing in Mistral."""
    bench.systems.clients.authenticate()
    bench.workflow.update(project_id="other", state=states.SUCCESS)
    bench.reconcile()
    assert bench.parent["status"] == "succeeded"


@pytest.mark.parametrize(("was_seen", "status"), [(True, "failed"), (False, "running")])
def test_missing_workflow_is_lost_only_if_it_was_seen_where_projects_are_hidden(
    bench: Bench, was_seen: bool, status: str
) -> None:
    bench.systems.clients.authenticate("a")
    bench.workflow["project_id"] = "a"
    if was_seen:
        bench.reconcile()
    del bench.mistral.workflows[WORKFLOW]
    bench.reconcile()
    bench.clock.advance(600)
    bench.reconcile()
    assert bench.parent["status"] == status
    assert bool(bench.projects.failing()) != was_seen


def test_workers_finish_what_they_have_begun(bench: Bench) -> None:
    bench.workflow["state"] = states.SUCCESS
    begun, may_go_on = threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        begun.set()
        assert may_go_on.wait(10)

    bench.st2.hooks["finish"] = wait
    bench.controller.workers.start()
    bench.controller.add(PARENT)
    assert begun.wait(10)
    closing = threading.Thread(target=bench.controller.workers.close)
    closing.start()
    may_go_on.set()
    closing.join(10)
    assert not closing.is_alive()
    assert bench.parent["status"] == "succeeded"
    bench.controller.add(OTHER)
    assert bench.st2.requests["get_execution"] == 1


def test_workers_take_what_becomes_due(bench: Bench) -> None:
    bench.workflow["state"] = states.SUCCESS
    controller = ParentController(
        bench.st2,
        bench.systems.clients,
        SETTINGS,
        metrics=bench.metrics,
        projects=bench.projects,
        resync=bench.resync,
    )
    controller.workers.start()
    controller.on_child_completed(child())
    eventually(lambda: bench.parent["status"] == "succeeded")
    controller.workers.close()


def polls(bench: Bench) -> int:
    """Return the number of times that Mistral was asked for a workflow."""
    return bench.mistral.requests["execution_state"] + bench.mistral.requests["get_execution"]


def test_quiet_workflow_is_polled_at_most_seven_times_a_minute(bench: Bench) -> None:
    bench.controller.on_child_completed(child())
    bench.after(60)
    assert polls(bench) == 7
    assert bench.mistral.requests["get_execution"] == bench.st2.requests["get_execution"] == 1


def test_workflow_with_running_child_is_polled_less() -> None:
    bench = Bench()
    bench.controller.on_child_completed(child("first"))
    bench.controller.on_execution_event(child("second"))
    bench.after(60)
    assert polls(bench) == 4


def test_duplicate_that_was_cancelled_does_not_delay_the_parent(bench: Bench) -> None:
    bench.controller.on_execution_event(child("first"))
    bench.controller.on_execution_event(child("second"))
    bench.controller.on_execution_event({**child("second"), "status": "canceled"})
    bench.after(10)
    bench.workflow["state"] = states.SUCCESS
    bench.controller.on_child_completed(child("first"))
    bench.after(0.03)
    assert bench.parent["status"] == "succeeded"


def test_children_that_may_have_ended_in_a_gap_do_not_delay_the_parent(bench: Bench) -> None:
    bench.controller.on_execution_event(child("first"))
    bench.controller.on_streaming(False)
    bench.workflow["state"] = states.SUCCESS
    bench.controller.on_child_completed(child("second"))
    bench.after(0.03)
    assert bench.parent["status"] == "succeeded"


@pytest.mark.parametrize("pause", [0.01, 0.1, 0.25, 1.0])
def test_burst_of_known_children_causes_no_poll_per_result(bench: Bench, pause: float) -> None:
    children = [child(f"c{number}") for number in range(300)]
    for one in children:
        bench.controller.on_execution_event(one)
    for one in children[:-1]:
        bench.controller.on_child_completed(one)
        bench.after(pause)
    # A pause above 0.3 s is long enough for one poll.
    assert polls(bench) <= (1 if pause < 0.3 else 300)
    bench.controller.on_child_completed(children[-1])
    bench.workflow["state"] = states.SUCCESS
    bench.after(0.06)
    assert bench.parent["status"] == "succeeded"


@pytest.mark.parametrize("pause", [0.06, 0.1])
def test_burst_of_unknown_children_causes_bounded_polls(bench: Bench, pause: float) -> None:
    for number in range(300):
        bench.controller.on_child_completed(child(f"c{number}"))
        bench.after(pause)
    # 20, and 2 per second.
    assert polls(bench) <= 22 + 600 * pause
    bench.workflow["state"] = states.SUCCESS
    bench.after(0.4)
    assert bench.parent["status"] == "succeeded"


@pytest.mark.parametrize("known", [True, False])
def test_burst_of_children_of_other_executions_causes_bounded_polls(known: bool) -> None:
    bench = Bench(Systems({"id": PARENT, "status": "running", "context": {}}))
    children = [child(f"c{number}") for number in range(300)]
    for one in children if known else ():
        bench.controller.on_execution_event(one)
    for one in children:
        bench.controller.on_child_completed(one)
        bench.after(0.06)
    bench.after(60)
    assert bench.st2.requests["get_execution"] <= (1 if known else 22 + 600 * 0.06)


@pytest.mark.parametrize("pause", [0.01, 0.03, 0.1])
def test_chain_of_tasks_causes_few_polls(bench: Bench, pause: float) -> None:
    for number in range(300):
        one = child(f"c{number}")
        bench.controller.on_execution_event(one)
        bench.after(0.1)
        bench.controller.on_child_completed(one)
        # Until the next child starts.
        bench.after(pause)
    assert polls(bench) <= (0 if pause < 0.02 else 22 + 600 * (0.1 + pause))
    bench.workflow["state"] = states.SUCCESS
    bench.after(0.15 - pause)
    assert bench.parent["status"] == "succeeded"


def test_parent_is_paused_with_its_workflow_and_when_nothing_below_runs(bench: Bench) -> None:
    bench.workflow["state"] = states.PAUSED
    running = child(action_execution_id="a")
    bench.st2.add(running)
    bench.mistral.add_task(task("t", WORKFLOW))
    bench.mistral.add_action(action("a", "t"))
    bench.controller.resync()
    bench.work()
    assert bench.parent["status"] == "pausing", "its workflow has paused itself"
    bench.controller.on_execution_event(bench.parent)
    bench.after(1)
    assert bench.parent["status"] == "pausing", "its child runs"
    running["status"] = "pending"
    bench.controller.on_execution_event(running)
    bench.after(0.2)
    assert bench.parent["status"] == "paused"
    bench.controller.on_execution_event(bench.parent)
    bench.after(60)
    assert bench.st2.requests["change_status"] == 2


def test_parent_is_paused_with_a_workflow_below(bench: Bench) -> None:
    below = parent("6b03c160746e6986596007fa", "lower", "paused")
    below |= {"parent": PARENT}
    below["context"] |= child(action_execution_id="a")["context"]
    bench.st2.add(below)
    bench.controller.on_execution_event({**below, "status": "pausing"})
    bench.work()
    assert bench.parent["status"] == "running"
    bench.controller.on_execution_event(below)
    bench.work()
    assert bench.parent["status"] == "pausing"


def test_workflow_follows_pausing_and_resuming_parent(bench: Bench) -> None:
    """StackStorm's runner could not reach Mistral."""
    bench.parent["status"] = "pausing"
    bench.reconcile()
    bench.after(0.2)
    assert (bench.workflow["state"], bench.parent["status"]) == ("PAUSED", "paused")
    bench.parent["status"] = "resuming"
    bench.reconcile()
    assert bench.workflow["state"] == "PAUSED", "its runner may do it"
    bench.clock.advance(15)
    bench.reconcile()
    bench.after(0.2)
    assert (bench.workflow["state"], bench.parent["status"]) == ("RUNNING", "running")


def test_parent_is_resumed_with_its_workflow(bench: Bench) -> None:
    bench.parent["status"] = "paused"
    bench.controller.resync()
    bench.work()
    assert bench.parent["status"] == "resuming"


def test_parent_that_stackstorm_cannot_pause_is_reported_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.workflow["state"] = states.PAUSED
    bench.st2.hooks["change_status"] = lambda *_: "running"
    for _ in range(3):
        bench.controller.resync()
        bench.after(30)
    assert bench.st2.requests["change_status"] == 1
    assert caplog.text.count("StackStorm cannot pause execution") == 1


def test_cancelled_execution_without_any_workflow_is_canceled(bench: Bench) -> None:
    bench.mistral.workflows.clear()
    bench.parent.update(status="canceling", context={})
    bench.reconcile()
    assert bench.parent["status"] == "canceling"
    bench.clock.advance(SETTINGS.lost_after)
    bench.reconcile()
    assert bench.parent["status"] == "canceled"
