"""Test the work queue: in every order of calls against a model, and with threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.clock import Clock

from st2actions_mistral.workqueue import Backoff, WorkQueue

KEYS = st.sampled_from(["a", "b", "c", "d", "e"])
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0])
BACKOFF = Backoff(first=1.0, longest=8.0, jitter=lambda: 1.0)


@dataclass
class Model:
    """The documented rules, as simply as they can be written."""

    limit: int
    now: float = 1000.0
    due: dict[str, float] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    failures: dict[str, int] = field(default_factory=dict)
    not_before: dict[str, float] = field(default_factory=dict)
    promoted: set[str] = field(default_factory=set)

    def ready(self) -> set[str]:
        return {k for k, due in self.due.items() if due <= self.now and k not in self.taken}

    def later(self) -> set[str]:
        return {k for k, due in self.due.items() if due > self.now and k not in self.taken}


class EveryOrder(RuleBasedStateMachine):
    """Two workers and whoever adds keys, in every order, against the documented rules."""

    @initialize(limit=st.integers(2, 4))
    def start(self, limit: int) -> None:
        self.clock = Clock()
        self.model = Model(limit)
        self.rejected = False
        self.room = 0
        self.queue: WorkQueue[str] = WorkQueue(
            limit=limit, on_room=self.on_room, backoff=BACKOFF, clock=self.clock
        )

    def on_room(self) -> None:
        self.room += 1

    def has_room(self, key: str, due: float) -> bool:
        model = self.model
        if key in model.taken:
            return True
        if due > model.now:
            return key in model.due or len(model.later()) < model.limit
        return key in model.ready() or len(model.ready()) + len(model.taken) < model.limit

    def expect_add(self, key: str, seconds: float) -> bool:
        model = self.model
        due = max(model.now + seconds, model.not_before.get(key, 0.0))
        if key in model.due and model.due[key] <= due:
            return True
        if not self.has_room(key, due):
            self.rejected = True
            return False
        model.due[key] = due
        return True

    def check_room(self) -> None:
        model = self.model
        busy = max(len(model.ready()) + len(model.taken), len(model.later()))
        told = self.rejected and busy <= model.limit // 2
        if told:
            self.rejected = False
        assert self.room == told
        self.room = 0

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        expected = self.expect_add(key, 0)
        assert self.queue.add(key) is expected

    @rule(key=KEYS, seconds=SECONDS)
    def add_after(self, key: str, seconds: float) -> None:
        expected = self.expect_add(key, seconds)
        assert self.queue.add_after(key, seconds) is expected

    @rule(key=KEYS)
    def add_backoff(self, key: str) -> None:
        model = self.model
        times = model.failures.pop(key, 0) + 1
        model.not_before.pop(key, None)
        model.due.pop(key, None)
        pause = min(8.0, 2.0 ** (times - 1))
        expected = self.expect_add(key, pause)
        if expected:
            model.failures[key] = times
            model.not_before[key] = model.now + pause
        assert self.queue.add_backoff(key, "reason") is expected

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.model.failures.pop(key, None)
        self.model.not_before.pop(key, None)
        self.queue.forget(key)

    @rule(key=KEYS)
    def discard(self, key: str) -> None:
        for known in (self.model.failures, self.model.not_before, self.model.due):
            known.pop(key, None)
        self.queue.discard(key)
        self.check_room()

    @rule()
    def take(self) -> None:
        ready = self.model.ready()
        key = self.queue.take(timeout=0)
        if key is None:
            assert not ready
            return
        assert key in ready
        del self.model.due[key]
        self.model.taken.add(key)

    @precondition(lambda self: self.model.taken)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        model = self.model
        key = data.draw(st.sampled_from(sorted(model.taken)))
        model.taken.discard(key)
        due = model.due.pop(key, None)
        if due is not None:
            if self.has_room(key, due):
                model.due[key] = due
            else:
                self.rejected = True
                model.failures.pop(key, None)
                model.not_before.pop(key, None)
        self.queue.done(key)
        self.check_room()

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.model.now += seconds

    @invariant()
    def failures_agree(self) -> None:
        if hasattr(self, "queue"):
            failing = self.queue.failing()
            assert {key: f.times for key, f in failing.items()} == self.model.failures
            assert {key: f.due for key, f in failing.items()} == self.model.not_before

    def teardown(self) -> None:
        # Nothing that was accepted is lost: once time passes, each key is taken.
        if not hasattr(self, "queue"):
            return
        for key in list(self.model.taken):
            self.done_quietly(key)
        self.clock.now += 1000
        left = set(self.model.due)
        while (key := self.queue.take(timeout=0)) is not None:
            left.remove(key)
        assert not left

    def done_quietly(self, key: str) -> None:
        model = self.model
        model.taken.discard(key)
        due = model.due.pop(key, None)
        if due is not None and self.has_room(key, due):
            model.due[key] = due
        self.queue.done(key)


TestEveryOrder = EveryOrder.TestCase
TestEveryOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_ready_keys_are_taken_in_their_order() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("b", "a", "b", "c"):
        queue.add(key)
    assert [queue.take() for _ in range(3)] == ["b", "a", "c"]


def test_take_wakes_when_a_delayed_key_is_due() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 30)
    queue.add_after("soon", 0.05)
    assert queue.take(timeout=5) == "soon"


def test_take_wakes_when_a_key_is_added_earlier_than_the_one_it_waits_for() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 30)
    threading.Timer(0.05, queue.add, ["now"]).start()
    assert queue.take(timeout=5) == "now"


def test_take_returns_none_at_its_timeout() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 30)
    assert queue.take(timeout=0.01) is None


def test_close_wakes_all_takers_and_gives_out_nothing_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    taken: list[str | None] = []
    takers = [threading.Thread(target=lambda: taken.append(queue.take())) for _ in range(3)]
    for taker in takers:
        taker.start()
    queue.close()
    for taker in takers:
        taker.join(5)
    assert taken == [None, None, None]
    assert not queue.add("a")
    assert queue.take() is None
    assert queue.closed


def test_many_workers_never_have_the_same_key_at_once() -> None:
    queue: WorkQueue[int] = WorkQueue(backoff=Backoff(first=0.001, longest=0.01))
    lock = threading.Lock()
    busy: set[int] = set()
    runs = dict.fromkeys(range(5), 0)
    twice: list[int] = []
    enough = threading.Event()

    def work() -> None:
        while (key := queue.take()) is not None:
            with lock:
                if key in busy:
                    twice.append(key)
                busy.add(key)
                runs[key] += 1
                if min(runs.values()) > 50:
                    enough.set()
            with lock:
                busy.discard(key)
            if runs[key] % 2:
                queue.add_backoff(key, "every second run fails")
            else:
                queue.add(key)
            queue.done(key)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    for key in runs:
        queue.add(key)
    assert enough.wait(30)
    queue.close()
    for worker in workers:
        worker.join(5)
    assert not twice


def test_backoff_doubles_up_to_the_longest_pause() -> None:
    backoff = Backoff(first=1, longest=300, jitter=lambda: 1.0)
    assert [backoff.pause(n) for n in (1, 2, 3, 9, 10, 5000)] == [1, 2, 4, 256, 300, 300]


@pytest.mark.parametrize("failures", [1, 5, 50])
def test_backoff_spreads_pauses_by_up_to_half(failures: int) -> None:
    longest = Backoff(jitter=lambda: 1.0).pause(failures)
    assert longest / 2 <= Backoff().pause(failures) <= longest


def test_failing_shows_count_and_last_reason() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_backoff("a", "timeout")
    queue.add_backoff("a", "refused")
    failure = queue.failing()["a"]
    assert (failure.times, failure.reason) == (2, "refused")
    assert queue.failure("a") == failure
    assert queue.failure("b").times == 0


def test_only_rejections_in_a_row_are_counted() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for rejected, count in ((True, 1), (True, 2), (False, 0), (True, 1)):
        queue.add_backoff("a", "reason", rejected=rejected)
        assert queue.failure("a").rejections == count
    queue.forget("a")
    assert queue.failure("a").rejections == 0
