"""Test how workers reconcile keys, and how they end."""

from __future__ import annotations

import threading

import pytest
from support.clock import Clock

from st2actions_mistral.errors import NotSent, OutcomeUnknown, RemoteError
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.relay.workers import Workers
from st2actions_mistral.workqueue import WorkQueue

URL = "http://st2/v1/executions"


class Bench:
    """Workers whose reconciliations may fail."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(clock=self.clock)
        self.metrics = Metrics()
        self.done: list[str] = []
        self.error: Exception | None = None
        self.workers = Workers(self.queue, self.reconcile, name="tests", count=2, metrics=self.metrics)

    def reconcile(self, key: str) -> None:
        if self.error is not None:
            raise self.error
        self.done.append(key)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.queue.add("a")
        self.workers.work(timeout=0)


def test_failure_is_retried_after_its_backoff(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.fail(NotSent("POST", URL, "refused"))
    failure = bench.queue.failure("a")
    assert (failure.times, failure.reason) == (1, f"POST {URL}: refused")
    assert f"a is retried later: POST {URL}: refused" in caplog.text
    assert bench.metrics.registry.get_sample_value("st2_relay_retries_total") == 1
    bench.error = None
    bench.clock.advance(1)
    bench.workers.work(timeout=0)
    assert bench.done == ["a"]
    assert bench.queue.failing() == {}


def test_unexpected_error_is_logged_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.fail(ZeroDivisionError("no"))
    assert bench.queue.failure("a").reason == "ZeroDivisionError"
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("error", "rejections"),
    [(OutcomeUnknown("POST", URL, "no", status=500), 1), (NotSent("POST", URL, "refused"), 0)],
)
def test_failures_that_may_be_for_the_body_are_counted(error: RemoteError, rejections: int) -> None:
    bench = Bench()
    bench.fail(error)
    assert bench.queue.failure("a").rejections == rejections


def test_close_ends_the_threads() -> None:
    bench = Bench()
    bench.workers.start()
    bench.workers.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tests-")]
    assert not bench.queue.add("a")
