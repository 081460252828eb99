"""What is looked at, and when, and what is done then. Stand-ins of the two systems say what is seen and
note what is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model.workflow import WorkflowRef, workflow_execution_id
from st2actions_mistral.relay import ends as ends_module
from st2actions_mistral.relay.ends import Ends
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.parent_view import Listed
from st2actions_mistral.relay.parents import Seen

SETTINGS = RelaySettings(
    site="here",
    resync_interval=30,
    reschedule_after=0,
    lost_after=600,
    cancel_orphans=True,
    workers=2,
    field_size_limit_kb=1024,
)
PARENT = "6b03c160746e6986596007f7"
ID = workflow_execution_id(PARENT)


class Systems:
    """Instead of ParentView, MistralClient and St2Client."""

    def __init__(self) -> None:
        self.state: str | None = "RUNNING"
        self.status = "running"
        self.looks: list[str] = []
        self.brief_looks = 0
        self.told: list[tuple[str, str]] = []
        self.results: list[dict[str, Any]] = []
        self.states: list[str] = []
        self.fail: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.becomes: str | None = None
        self.list = Listed({}, (), ())

    def parent(self) -> dict[str, Any]:
        return {
            "id": PARENT,
            "status": self.status,
            "context": WorkflowRef("here", ID, "n").as_context(),
        }

    def workflow(self) -> dict[str, Any]:
        return {"id": ID, "state": self.state, "description": f"StackStorm execution {PARENT}"}

    def look(self, parent_id: str) -> Seen:
        self.looks.append(parent_id)
        assert self.may_go_on.wait(10)
        if self.fail:
            raise self.fail
        if parent_id != PARENT:
            return Seen({"id": parent_id, "status": "running", "context": {}})
        parent = self.parent()
        return Seen(parent, self.workflow() if self.state else None, owner=parent)

    def is_at_work(self, workflow_id: str) -> bool:
        assert workflow_id == ID
        self.brief_looks += 1
        return self.state == "RUNNING"

    def listed(self) -> Listed:
        return self.list

    def report(self, workflow: Any) -> dict[str, Any]:
        return {"output": None, "state": self.state, "mistral": {"workflow_execution_id": ID}}

    def finish(self, parent_id: str, status: str, result: Any) -> dict[str, Any]:
        self.told.append((parent_id, status))
        self.results.append(result)
        if self.fail:
            raise self.fail
        self.status = self.becomes or status
        return {"id": parent_id, "status": self.status}

    def change_state(self, workflow_id: str, state: str) -> dict[str, Any]:
        self.states.append(workflow_id)
        if self.state is None:
            raise Answered("PUT", "x", 404, "no")
        self.state = state
        return {"id": workflow_id, "state": state}


class Clock:
    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Bench:
    def __init__(self, workers: int = 2) -> None:
        self.systems = Systems()
        self.metrics = Metrics()
        self.clock = Clock()
        self.given_up = 0
        self.ends = Ends(
            self.systems,  # type: ignore[arg-type]
            self.systems,  # type: ignore[arg-type]
            SETTINGS,
            self.systems,  # type: ignore[arg-type]
            metrics=self.metrics,
            given_up=self.note,
            clock=self.clock,
        )
        self.thread = threading.Thread(target=self.ends.run)
        self.thread.start()

    def note(self) -> None:
        self.given_up += 1

    def total(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"st2_relay_{name}_total") or 0


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.systems.may_go_on.set()
    made.ends.close()
    made.thread.join(10)
    assert not made.thread.is_alive()


def eventually(look: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def child(parent: str = PARENT) -> dict[str, Any]:
    return {"id": "c", "context": {"parent": {"execution_id": parent}}}


def test_after_a_result_the_workflow_is_looked_at_until_it_has_ended(bench: Bench) -> None:
    bench.ends.delivered(child())
    eventually(lambda: bench.systems.brief_looks == 1)
    assert bench.systems.looks == [PARENT]
    bench.systems.state = "SUCCESS"
    eventually(lambda: bench.total("finished") == 1)
    assert bench.systems.told == [(PARENT, "succeeded")]


def test_a_child_of_nobody_is_nobodys_news(bench: Bench) -> None:
    bench.ends.delivered({"id": "c", "context": {}})
    bench.ends.delivered(child("a" * 24))
    eventually(lambda: bench.systems.looks)
    time.sleep(0.8)
    # What has no workflow, nor will have, is looked at once.
    assert bench.systems.looks == ["a" * 24]


def test_what_the_stream_shows_is_looked_at(bench: Bench) -> None:
    elsewhere = WorkflowRef("elsewhere", ID, "n").as_context()
    bench.ends.seen({"id": "x", "status": "canceled", "context": elsewhere})
    bench.ends.seen({"id": "y", "status": "canceled", "context": {}, "runner": {"name": "noop"}})
    bench.systems.status = "canceled"
    bench.ends.seen(bench.systems.parent())
    eventually(lambda: bench.total("stopped") == 1)
    assert bench.systems.states == [ID]
    assert bench.given_up == 1
    # And again, to see to the parent.
    eventually(lambda: len(bench.systems.looks) == 2)
    assert set(bench.systems.looks) == {PARENT}
    assert bench.systems.told == []


def test_one_that_runs_is_looked_at_soon_and_one_that_has_ended_is_not(bench: Bench) -> None:
    bench.ends.seen(bench.systems.parent())
    bench.ends.seen({**bench.systems.parent(), "status": "succeeded"})
    time.sleep(0.5)
    assert bench.systems.looks == []
    bench.ends.seen(bench.systems.parent())
    eventually(lambda: bench.systems.looks)


def test_a_canceling_parent_is_canceled_once_its_workflow_is(bench: Bench) -> None:
    bench.systems.status = "canceling"
    bench.ends.offer(PARENT)
    eventually(lambda: bench.total("finished") == 1)
    assert bench.systems.states == [ID]
    assert bench.systems.told == [(PARENT, "canceled")]


def test_stackstorm_asks_its_runner_before_it_cancels(bench: Bench) -> None:
    bench.systems.state = "CANCELLED"
    bench.systems.becomes = "canceling"
    bench.ends.offer(PARENT)
    eventually(lambda: len(bench.systems.told) >= 2)
    assert bench.total("finished") == 0
    bench.systems.becomes = None
    eventually(lambda: bench.total("finished") == 1)


def test_the_word_of_a_callback_that_came_before_stands(bench: Bench) -> None:
    bench.systems.state = "SUCCESS"
    bench.systems.becomes = "failed"
    bench.ends.offer(PARENT)
    eventually(lambda: bench.systems.told)
    time.sleep(0.5)
    assert bench.systems.told == [(PARENT, "succeeded")]
    assert bench.total("finished") == 0


def test_a_failure_is_tried_again_later_and_counted(bench: Bench) -> None:
    bench.systems.fail = OutcomeUnknown("GET", "x", "no")
    bench.ends.offer(PARENT)
    eventually(lambda: bench.total("retried") == 1)
    for _ in range(10):
        bench.ends.offer(PARENT)
        bench.ends.delivered(child())
    time.sleep(0.2)
    assert len(bench.systems.looks) == 1, "it waits for its turn"
    bench.systems.fail = None
    bench.systems.state = "ERROR"
    eventually(lambda: bench.total("finished") == 1)
    assert bench.systems.told == [(PARENT, "failed")]
    assert bench.ends.backoff.failing() == {}


def test_a_result_is_cut_only_after_it_has_failed_for_a_while(bench: Bench) -> None:
    bench.systems.state = "SUCCESS"
    whole = bench.systems.report(None)

    def finish(parent_id: str, status: str, result: Any) -> dict[str, Any]:
        bench.systems.results.append(result)
        if result == whole:
            raise OutcomeUnknown("PUT", "x", "500", status=500)
        bench.systems.status = status
        return {"id": parent_id, "status": status}

    bench.systems.finish = finish  # type: ignore[method-assign]
    bench.ends.offer(PARENT)
    for failures in (1, 2, 3):
        eventually(lambda failures=failures: bench.total("retried") == failures)
        assert bench.systems.results == [whole] * failures
        bench.clock.ahead += 10
        bench.ends.offer(PARENT)
    eventually(lambda: bench.total("finished") == 1)
    assert bench.systems.results[:4] == [whole] * 4
    assert "cut" in bench.systems.results[4]["mistral"]


def test_an_error_of_ours_does_not_end_the_worker(bench: Bench) -> None:
    bench.systems.fail = ValueError("ours")
    bench.ends.offer(PARENT)
    eventually(lambda: bench.total("retried") == 1)
    assert bench.ends.backoff.failing()[PARENT].reason == "ValueError"
    bench.systems.fail = None
    bench.systems.state = "SUCCESS"
    eventually(lambda: bench.total("finished") == 1)


def test_a_parent_that_is_gone_is_no_error(bench: Bench) -> None:
    bench.systems.state = "SUCCESS"

    def finish(*given: Any) -> Any:
        bench.systems.told.append((PARENT, "gone"))
        raise Answered("PUT", "x", 404, "no")

    bench.systems.finish = finish  # type: ignore[method-assign]
    bench.ends.offer(PARENT)
    eventually(lambda: bench.systems.told)
    time.sleep(0.3)
    assert bench.total("retried") == bench.total("finished") == 0


def test_a_workflow_is_lost_when_it_was_missed_for_long_enough(bench: Bench) -> None:
    bench.systems.state = None
    for _ in range(2):
        looks = len(bench.systems.looks)
        bench.ends.offer(PARENT)
        eventually(lambda looks=looks: len(bench.systems.looks) > looks)
        time.sleep(0.1)
        assert bench.systems.told == []
        bench.clock.ahead += 599
    bench.ends.offer(PARENT)
    eventually(lambda: bench.systems.told)
    assert bench.systems.told == [(PARENT, "failed")]
    assert "does not know" in bench.systems.results[0]["mistral"]["state_info"]


def test_a_workflow_that_came_back_was_not_lost(bench: Bench) -> None:
    for state in (None, "RUNNING", None):
        bench.systems.state = state
        looks = len(bench.systems.looks)
        bench.ends.offer(PARENT)
        eventually(lambda looks=looks: len(bench.systems.looks) > looks)
        time.sleep(0.1)
        bench.clock.ahead += 400
    assert bench.systems.told == []


def test_what_is_under_way_is_looked_at_once_more_afterwards(bench: Bench) -> None:
    bench.systems.may_go_on.clear()
    bench.ends.offer(PARENT)
    eventually(lambda: bench.systems.looks)
    for _ in range(5):
        bench.ends.offer(PARENT)
    assert len(bench.systems.looks) == 1
    bench.systems.may_go_on.set()
    eventually(lambda: len(bench.systems.looks) == 2)
    time.sleep(0.1)
    assert len(bench.systems.looks) == 2


def test_there_is_a_bound_to_what_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends_module, "_WAITING", 5)
    bench.systems.may_go_on.clear()
    for number in range(20):
        bench.ends.offer(f"{number:024x}")
    bench.systems.may_go_on.set()
    eventually(lambda: len(bench.systems.looks) == 5)
    time.sleep(0.1)
    assert len(bench.systems.looks) == 5


def test_a_sweep_offers_what_is_in_doubt_and_stops_what_is_left_over(bench: Bench) -> None:
    bench.systems.list = Listed({PARENT: ID, "x": "w"}, (PARENT,), ("sub",))
    bench.systems.state = "SUCCESS"
    assert bench.ends.sweep() == 2
    assert "sub" in bench.systems.states
    eventually(lambda: bench.systems.told)


def test_what_is_offered_after_the_end_is_left_to_the_next_relay(bench: Bench) -> None:
    bench.ends.close()
    bench.ends.offer(PARENT)
    assert bench.systems.looks == []
