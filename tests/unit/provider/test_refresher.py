"""The background thread that refreshes the catalogue."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.waiting import eventually

from st2actions_mistral.provider.refresher import Refresher

Make = Callable[..., Refresher]


class Calls:
    """Counts the calls of a function that can be told to fail."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.outcome: bool | Exception = True

    def __call__(self) -> bool:
        self.times.append(time.monotonic())
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def make(calls: Calls) -> Iterator[Make]:
    made: list[Refresher] = []

    def make_refresher(interval: float = 3600) -> Refresher:
        made.append(Refresher(calls, interval))
        return made[-1]

    yield make_refresher
    for refresher in made:
        refresher.stop()


def test_nothing_is_called_before_it_is_needed(make: Make, calls: Calls) -> None:
    make()
    assert calls.times == []


def test_first_call_is_at_once_and_in_one_thread(make: Make, calls: Calls) -> None:
    before = set(threading.enumerate())
    refresher = make()
    for _ in range(20):
        refresher.ensure_running()
    eventually(lambda: calls.times, "the first call")
    (ours,) = set(threading.enumerate()) - before
    assert (ours.name, ours.daemon) == ("st2-provider", True)
    assert len(calls.times) == 1


def test_threads_that_ask_at_the_same_moment_start_one(make: Make) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(50):
                refresher, start = make(), threading.Barrier(8)

                def ask(refresher: Refresher = refresher, start: threading.Barrier = start) -> None:
                    start.wait(30)
                    refresher.ensure_running()

                before = set(threading.enumerate())
                for asking in [pool.submit(ask) for _ in range(8)]:
                    asking.result()
                started = [thread.name for thread in set(threading.enumerate()) - before]
                assert started.count("st2-provider") == 1
    finally:
        sys.setswitchinterval(interval)


def test_system_without_threads_is_no_error_and_is_asked_again(
    make: Make, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine asks in a transaction, which an error would end."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    refresher = make()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        refresher.ensure_running()
    assert calls.times == []
    refresher.ensure_running()
    eventually(lambda: calls.times, "the first call")


def test_calls_are_repeated(make: Make, calls: Calls) -> None:
    make(0.01).ensure_running()
    eventually(lambda: len(calls.times) > 3, "more calls")


def test_failed_call_is_repeated_soon(make: Make, calls: Calls) -> None:
    calls.outcome = False
    make(3600).ensure_running()
    eventually(lambda: len(calls.times) == 2, "a second call")
    assert 0.8 < calls.times[1] - calls.times[0] < 30


def test_unexpected_error_does_not_end_the_thread(
    make: Make, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    calls.outcome = RuntimeError("a bug")
    make(0.01).ensure_running()
    eventually(lambda: len(calls.times) > 1, "a second call")
    assert "The actions of StackStorm cannot be refreshed." in caplog.text
    assert "a bug" in caplog.text


def test_stopped_thread_calls_nothing_and_can_be_started_again(make: Make, calls: Calls) -> None:
    before = set(threading.enumerate())
    refresher = make(0.01)
    refresher.ensure_running()
    (thread,) = set(threading.enumerate()) - before
    refresher.stop()
    thread.join(10)
    assert not thread.is_alive()
    had = len(calls.times)
    refresher.ensure_running()
    eventually(lambda: len(calls.times) > had, "a call of the new thread")


# In a process of its own: eventlet, which other tests import, warns of each fork.
FORK = """
import os, sys, time
from st2actions_mistral.provider.refresher import Refresher

calls = []

def refresh():
    calls.append(os.getpid())
    return True

def wait():
    deadline = time.monotonic() + 30
    while os.getpid() not in calls and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.getpid() in calls

refresher = Refresher(refresh, 3600)
refresher.ensure_running()
assert wait()
child = os.fork()
refresher.ensure_running()
if child == 0:
    os._exit(0 if wait() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert calls == [os.getpid()]
"""


def test_forked_process_starts_a_thread_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
