"""Test how events reach a trigger in StackStorm."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.notifier.events import Event
from st2actions_mistral.notifier.triggers import TriggerNotifier


class St2:
    """Stands in for ``St2Client``."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.errors: list[Exception] = []

    def dispatch_trigger(self, trigger: str, payload: dict[str, Any]) -> None:
        self.sent.append((trigger, payload))
        if self.errors:
            raise self.errors.pop(0)

    @property
    def names(self) -> list[tuple[str, str]]:
        return [(payload["workflow_execution_id"], payload["event"]) for _, payload in self.sent]


class Above:
    """Stands in for ``Lineage``."""

    def of(self, event: Event) -> tuple[str | None, str | None]:
        return "root", "parent"


def event(id_: str = "w", name: str = "WORKFLOW_FAILED") -> Event:
    found = Event.of(name, {"id": id_, "state": "ERROR"})
    assert found is not None
    return found


def notifier(st2: Any, *, limit: int = 100, workers: int = 1) -> TriggerNotifier:
    above: Any = Above()
    return TriggerNotifier(st2, above, "p.t", site="here", workers=workers, limit=limit)


def test_event_reaches_the_trigger() -> None:
    st2 = St2()
    made = notifier(st2)
    made.add(event())
    made.workers.work(timeout=0)
    ((trigger, payload),) = st2.sent
    assert trigger == "p.t"
    assert (payload["event"], payload["site"]) == ("WORKFLOW_FAILED", "here")
    assert (payload["root_execution_id"], payload["parent_execution_id"]) == ("root", "parent")


def test_events_of_one_workflow_are_sent_in_order_and_others_in_between() -> None:
    st2 = St2()
    made = notifier(st2)
    for number in range(3):
        made.add(event("a", f"E{number}"))
    made.add(event("b"))
    made.workers.work(timeout=0)
    assert [name for id_, name in st2.names if id_ == "a"] == ["E0", "E1", "E2"]
    assert st2.names.index(("b", "WORKFLOW_FAILED")) == 1


def test_threads_keep_the_order_of_a_workflow() -> None:
    st2 = St2()
    made = notifier(st2, workers=4, limit=1000)
    made.workers.start()
    done = threading.Event()

    def count(trigger: str, payload: dict[str, Any]) -> None:
        st2.sent.append((trigger, payload))
        if len(st2.sent) == 400:
            done.set()

    st2.dispatch_trigger = count  # type: ignore[method-assign] # it tells when it is done
    for number in range(100):
        for id_ in "abcd":
            made.add(event(id_, f"E{number}"))
    assert done.wait(30)
    made.workers.close(10)
    for id_ in "abcd":
        assert [name for own, name in st2.names if own == id_] == [f"E{n}" for n in range(100)]


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknown("POST", "x", "500", status=500), Answered("POST", "x", 400, "hush")],
)
def test_event_that_fails_is_not_sent_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    st2 = St2()
    st2.errors.append(error)
    made = notifier(st2)
    made.add(event("w", "E0"))
    made.add(event("w", "E1"))
    made.workers.work(timeout=0)
    assert st2.names == [("w", "E0"), ("w", "E1")]
    assert "An event of workflow execution w has not reached the trigger p.t: POST x:" in caplog.text
    assert "hush" not in caplog.text


def test_add_drops_when_too_many_wait(caplog: pytest.LogCaptureFixture) -> None:
    st2 = St2()
    made = notifier(st2, limit=3)
    for number in range(5):
        made.add(event("w", f"E{number}"))
    assert made.drops.total == 2
    assert "dropped 1 events for the trigger. 3 wait already" in caplog.text
    made.workers.work(timeout=0)
    assert [name for _, name in st2.names] == ["E0", "E1", "E2"]
    made.add(event("w", "E9"))
    made.workers.work(timeout=0)
    assert st2.names[-1] == ("w", "E9")
