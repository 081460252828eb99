"""Test what the notifier does about the parents of workflows."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest
from support.clock import Clock
from support.relay import (
    PARENT,
    SETTINGS,
    TASK_WORKFLOW,
    WORKFLOW,
    Systems,
    action,
    parent,
    task,
    workflow,
)

from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown
from st2actions_mistral.model import states
from st2actions_mistral.model.links import DESCRIPTION
from st2actions_mistral.notifier.events import Event
from st2actions_mistral.notifier.parents import ParentNotifier

OTHER = "6b03c160746e6986596007ff"


def event(name: str = "WORKFLOW_SUCCEEDED", id_: str = WORKFLOW, project: str | None = None) -> Event:
    found = Event.of(name, {"id": id_, "project_id": project})
    assert found is not None
    return found


class Bench:
    """A notifier without threads, and a clock that a test advances."""

    def __init__(self, systems: Systems | None = None, *, limit: int = 100) -> None:
        self.systems = systems or Systems(parent(), workflows=[workflow()])
        self.st2, self.mistral = self.systems.st2, self.systems.mistral
        self.clock = Clock()
        self.notifier = ParentNotifier(
            self.st2, self.systems.clients, SETTINGS, workers=1, limit=limit, clock=self.clock
        )

    @property
    def parent(self) -> dict[str, Any]:
        return self.st2.executions[PARENT]

    @property
    def workflow(self) -> dict[str, Any]:
        return self.mistral.workflows[WORKFLOW]

    def notify(self, *events: Event) -> None:
        for one in events or (event(),):
            self.notifier.add(one)
        self.notifier.workers.work(timeout=0)

    def after(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)
            self.notifier.workers.work(timeout=0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("state", "status"), [("SUCCESS", "succeeded"), ("ERROR", "failed"), ("CANCELLED", "canceled")]
)
def test_parent_finishes_with_its_workflow(bench: Bench, state: str, status: str) -> None:
    bench.workflow.update(state=state, output='{"a": 1}')
    bench.notify()
    assert bench.parent["status"] == status
    assert bench.parent["result"]["state"] == state
    assert bench.parent["result"]["output"] == {"a": 1}


def test_end_is_not_left_to_itself(bench: Bench) -> None:
    """The relay leaves it to the notifier."""
    bench.workflow.update(state="SUCCESS", params=json.dumps({"notify": [{"type": "st2"}]}))
    bench.notify()
    assert bench.parent["status"] == "succeeded"


@pytest.mark.parametrize("status", sorted(states.ST2_FINAL))
def test_final_parent_is_not_changed(bench: Bench, status: str) -> None:
    bench.workflow["state"] = "SUCCESS"
    bench.parent["status"] = status
    bench.notify(event(), event())
    assert not bench.st2.results
    assert "change_status" not in bench.st2.requests


@pytest.mark.parametrize("name", ["WORKFLOW_PAUSED", "WORKFLOW_RESUMED", "WORKFLOW_SUCCEEDED"])
@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        ("RUNNING", "running", "running"),
        ("PAUSED", "running", "paused"),
        ("RUNNING", "paused", "resuming"),
        ("SUCCESS", "paused", "succeeded"),
        ("SUCCESS", "running", "succeeded"),
        ("ERROR", "canceling", "canceled"),
    ],
)
def test_late_event_changes_only_what_differs_now(
    bench: Bench, name: str, state: str, status: str, expected: str
) -> None:
    """The present state of both systems decides, whatever the event was."""
    bench.workflow["state"] = state
    bench.parent["status"] = status
    bench.notify(event(name))
    bench.after(1)
    assert bench.parent["status"] == expected


def test_pausing_parent_waits_for_what_runs_below(bench: Bench) -> None:
    bench.workflow["state"] = "PAUSED"
    bench.mistral.add_task(task("t", WORKFLOW))
    bench.mistral.add_action(action("a", "t"))
    bench.notify(event("WORKFLOW_PAUSED"))
    bench.after(10)
    assert bench.parent["status"] == "pausing"
    # The relay goes on.
    assert bench.st2.requests["change_status"] == 1


def test_running_parent_lists_no_children(bench: Bench) -> None:
    """A workflow that is paused below it is the relay's."""
    bench.notify(event("WORKFLOW_RESUMED"))
    assert "children_below" not in bench.st2.requests


@pytest.mark.parametrize("status", ["canceled", "canceling", "pausing", "resuming"])
def test_nothing_is_changed_in_mistral(bench: Bench, status: str) -> None:
    bench.parent["status"] = status
    bench.notify(event("WORKFLOW_RESUMED"))
    bench.after(60)
    assert "change_state" not in bench.mistral.requests
    assert bench.parent["status"] == status


def test_parent_that_does_not_name_its_workflow_yet_is_looked_at_again(bench: Bench) -> None:
    """Its runner has not returned. StackStorm would overwrite the status."""
    bench.workflow["state"] = "SUCCESS"
    context, bench.parent["context"] = bench.parent["context"], {}
    bench.notify()
    bench.after(0.5)
    assert not bench.st2.results
    assert 3 <= bench.st2.requests["get_execution"] <= 8
    bench.parent["context"] = context
    bench.after(0.3)
    assert bench.parent["status"] == "succeeded"


def test_end_is_left_to_the_relay_after_some_seconds(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.workflow["state"] = "SUCCESS"
    bench.parent["context"] = {}
    bench.notify()
    bench.after(10)
    asked = bench.st2.requests["get_execution"]
    assert asked <= 15
    bench.after(60)
    assert bench.st2.requests["get_execution"] == asked
    assert f"Workflow execution {WORKFLOW} is left to the relay after" in caplog.text


def test_report_that_takes_too_long_is_not_sent(bench: Bench) -> None:
    """By then the relay may send one."""
    bench.workflow["state"] = "SUCCESS"

    def slow(_: str) -> None:
        bench.clock.advance(4)

    bench.mistral.hooks["tasks"] = slow
    bench.notify()
    assert not bench.st2.results
    assert bench.parent["status"] == "running"


def test_canceled_parent_is_asked_again_until_its_runner_has_cancelled_it(bench: Bench) -> None:
    bench.workflow["state"] = "CANCELLED"
    bench.st2.asks_runner = True
    bench.notify()
    assert bench.parent["status"] == "canceling"
    bench.st2.asks_runner = False
    bench.after(0.1)
    assert bench.parent["status"] == "canceled"


@pytest.mark.parametrize(
    "error",
    [
        NotSent("PUT", "x", "refused"),
        OutcomeUnknown("PUT", "x", "500", status=500),
        Answered("PUT", "x", 403, "hush"),
    ],
)
def test_what_fails_is_left_to_the_relay(
    bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench.workflow["state"] = "SUCCESS"

    def fail(*_: Any) -> None:
        raise error

    bench.st2.hooks["finish"] = fail
    bench.notify()
    bench.after(60)
    assert len(bench.st2.results) == 1
    assert f"Workflow execution {WORKFLOW} is left to the relay: PUT x:" in caplog.text
    assert "hush" not in caplog.text
    bench.st2.hooks.clear()
    bench.notify()
    assert bench.parent["status"] == "succeeded", "a new event is handled"


def test_workflow_without_parent_costs_one_request(bench: Bench) -> None:
    bench.mistral.add(workflow(TASK_WORKFLOW, state="SUCCESS", description="a user's"))
    bench.notify(event(id_=TASK_WORKFLOW))
    bench.notify(event(id_="gone"))
    assert bench.mistral.requests == {"get_execution": 2}
    assert not bench.st2.requests


def claim(workflow_id: str, parent_id: str) -> dict[str, Any]:
    context = {"parent": {"execution_id": parent_id}}
    env = {"__actions": {"st2.callback": {"st2_context": context}}}
    return workflow(workflow_id, "x", "SUCCESS", params=json.dumps({"env": env}), description="")


def test_workflow_that_names_the_parent_of_another_one_does_not_finish_it() -> None:
    """Anyone who starts a workflow in Mistral chooses its environment."""
    bench = Bench(Systems(parent(), workflows=[workflow(), claim(TASK_WORKFLOW, PARENT)]))
    bench.notify(event(id_=TASK_WORKFLOW))
    bench.after(10)
    assert not bench.st2.results
    assert bench.parent["status"] == "running"


def test_workflow_that_names_a_foreign_execution_does_not_finish_it() -> None:
    running = {"id": OTHER, "status": "running", "context": {}, "runner": {"name": "python-script"}}
    elsewhere = parent(PARENT, TASK_WORKFLOW, site="elsewhere")
    workflows = [claim(WORKFLOW, OTHER), claim(TASK_WORKFLOW, PARENT)]
    bench = Bench(Systems(running, elsewhere, workflows=workflows))
    bench.notify(event(), event(id_=TASK_WORKFLOW))
    bench.after(10)
    assert not bench.st2.results


def test_workflow_that_runs_again_finishes_its_new_parent(bench: Bench) -> None:
    bench.parent["status"] = "failed"
    bench.st2.add(parent(OTHER))
    bench.mistral.add({**claim(WORKFLOW, OTHER), "description": f"{DESCRIPTION}{PARENT}"})
    bench.notify()
    assert bench.st2.executions[OTHER]["status"] == "succeeded"
    assert bench.parent["status"] == "failed"


def test_workflow_is_read_with_a_token_for_its_project() -> None:
    systems = Systems(parent(), workflows=[workflow(state="SUCCESS", project_id="a")])
    systems.clients.authenticate("a", old=True)
    bench = Bench(systems)
    bench.notify(event(project="a"))
    assert bench.parent["status"] == "succeeded"
    assert not systems.clients.changes


def test_workflow_that_mistral_hides_is_left_to_the_relay(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    systems = Systems(parent(), workflows=[workflow(state="SUCCESS", project_id="a")])
    systems.clients.authenticate(admin=False)
    bench = Bench(systems)
    bench.notify(event(project="a"))
    assert bench.parent["status"] == "running"
    assert f"{WORKFLOW} is left to the relay: it belongs to a. Give it a role." in caplog.text


def test_administrator_reads_a_workflow_without_access_to_its_project() -> None:
    systems = Systems(parent(), workflows=[workflow(state="SUCCESS", project_id="a")])
    systems.clients.authenticate()
    bench = Bench(systems)
    bench.notify(event(project="a"))
    assert bench.parent["status"] == "succeeded"
    assert not systems.clients.changes


def test_add_drops_when_the_queue_is_full(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(limit=2)
    for number in range(5):
        bench.notifier.add(event(id_=f"w{number}"))
    assert bench.notifier.drops.total == 3
    assert "dropped 1 changes of workflows, which the relay finds. 2 wait already" in caplog.text
    bench.workflow["state"] = "SUCCESS"
    bench.notify()
    assert bench.parent["status"] == "running", "it is full"
    bench.notify()
    assert bench.parent["status"] == "succeeded"


def test_event_that_comes_meanwhile_is_handled_afterwards(bench: Bench) -> None:
    hold, held = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        held.set()
        hold.wait(10)

    bench.mistral.hooks["get_execution"] = wait
    worker = threading.Thread(target=bench.notify)
    worker.start()
    assert held.wait(10)
    bench.mistral.hooks.clear()
    bench.notifier.add(event())
    hold.set()
    worker.join(10)
    assert bench.mistral.requests["get_execution"] == 2
