"""The end of each workflow reaches StackStorm once, with notifier and relay, whatever breaks.

Both take part in all tests. The notifier runs in Mistral's process.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.breaking_servers import Exchange, answer
from support.mistral_bench import Bench
from support.parents import WORKFLOW, cancel_in_mistral, ended, log, run, starting, workflow_of
from support.put_watch import PutWatch
from support.waiting import eventually

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import Runner, RunRequest, RunResult, StackStorm
from st2actions_mistral.client.settings import Credential, St2Settings
from st2actions_mistral.model import states

WAIT = "wait: {action: std.async_noop}"

# What happens to the workflows, one after the other.
STORIES = ("success", "error", "cancel in Mistral", "cancel", "pause in Mistral", "pause")
EACH = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, PutWatch]]:
    with StackStorm() as stackstorm, PutWatch(stackstorm.base_url) as watch:
        settings = St2Settings(
            api_url=f"{watch.url}/api/v1",
            stream_url=stackstorm.stream_url,
            credential=Credential(api_key=stackstorm.create_api_key()),
        )
        folder = tmp_path_factory.mktemp("notifier")
        with Sandbox(folder, st2=settings, relay_options="resync_interval = 3") as sandbox:
            sandbox.stackstorm = stackstorm
            bench = Bench(sandbox)
            stackstorm.register_runner("mistral-v2", runner(bench))
            stackstorm.register_action(WORKFLOW)
            yield bench, watch


@pytest.fixture
def bench(place: tuple[Bench, PutWatch]) -> Bench:
    return place[0]


@pytest.fixture
def watch(place: tuple[Bench, PutWatch]) -> Iterator[PutWatch]:
    yield place[1]
    place[1].fault = None


def runner(bench: Bench) -> Runner:
    """Return a runner that passes cancel, pause and resume on, as the real one does."""

    def change(state: str, status: str) -> Any:
        def act(request: RunRequest) -> RunResult:
            change_in_mistral(bench, workflow_of(bench, request.execution["id"]), state)
            return RunResult(status, {})

        return act

    return Runner(
        starting(bench),
        cancel=change("CANCELLED", "canceling"),
        pause=change("PAUSED", "pausing"),
        resume=change("RUNNING", "running"),
    )


def change_in_mistral(bench: Bench, workflow: str, state: str) -> None:
    bench.mistral.change_state(workflow, state)


def log_of_mistral(bench: Bench) -> str:
    text: str = bench.sandbox.mistral_server.log_path.read_text(encoding="utf-8")
    return text


def status_of(bench: Bench, execution_id: str) -> str:
    return str(bench.stackstorm.executions.get(execution_id)["status"])


def waiting(bench: Bench) -> tuple[str, str]:
    """Start a workflow that waits, and return the ids of its parent and of itself."""
    parent = run(bench, bench.workbook(WAIT))
    workflow = workflow_of(bench, parent)
    eventually(lambda: bench.look({"id": workflow}).actions, "the action runs")
    return parent, workflow


def complete(bench: Bench, workflow: str, state: str = "SUCCESS") -> None:
    (action,) = bench.look({"id": workflow}).actions
    assert bench.mistral.complete_action(action["id"], state, {})


def tell(bench: Bench, story: str) -> str:
    """Let one workflow run through a story, and return its parent when that is final."""
    parent, workflow = waiting(bench)
    if story == "cancel in Mistral":
        cancel_in_mistral(bench, workflow)
    elif story == "cancel":
        assert bench.st2.cancel(parent)
    elif story == "error":
        complete(bench, workflow, "ERROR")
    else:
        if story == "pause in Mistral":
            change_in_mistral(bench, workflow, states.PAUSED)
        elif story == "pause":
            assert bench.st2.change_status(parent, "pausing")
        if story != "success":
            eventually(lambda: status_of(bench, parent) == "pausing", "the parent is pausing")
            complete(bench, workflow)
            eventually(lambda: status_of(bench, parent) == "paused", "the parent is paused")
            change_in_mistral(bench, workflow, states.RUNNING)
        else:
            complete(bench, workflow)
    assert ended(bench, parent, timeout=60)
    return parent


def check_relay_finished(bench: Bench, watch: PutWatch, parent: str) -> None:
    """Check that the relay has finished a parent, and nobody else."""
    assert ended(bench, parent, timeout=120)["status"] == "succeeded"
    line = f"Finished: StackStorm execution {parent}"
    eventually(lambda: line in log(bench), "the relay logs it")
    assert watch.ends()[parent] == 1
    assert line not in log_of_mistral(bench)


def test_each_parent_is_finished_once(bench: Bench, watch: PutWatch) -> None:
    stories = [story for _ in range(EACH) for story in STORIES]
    with ThreadPoolExecutor(6) as pool:
        parents = list(pool.map(lambda story: tell(bench, story), stories))
    expected = {"error": "failed", "cancel": "canceled", "cancel in Mistral": "canceled"}
    for parent, story in zip(parents, stories, strict=True):
        assert status_of(bench, parent) == expected.get(story, "succeeded"), story
    # Longer than the relay leaves ends to the notifier.
    time.sleep(6)
    ends = watch.ends()
    assert {parent: ends[parent] for parent in parents} == dict.fromkeys(parents, 1)
    finals = [put for put in watch.puts if put.wanted in states.ST2_FINAL]
    assert [put for put in finals if put.answered != 200] == []
    said = log_of_mistral(bench)
    by_notifier = [p for p in parents if f"Finished: StackStorm execution {p} " in said]
    print(f"{len(by_notifier)} of {len(parents)} parents were finished by the notifier")
    assert len(by_notifier) == len(parents)
    assert "Finished:" not in log(bench)


def test_relay_finishes_the_parent_while_stackstorm_does_not_respond(
    bench: Bench, watch: PutWatch
) -> None:
    parent, workflow = waiting(bench)
    watch.refuse(4)
    watch.drop()
    complete(bench, workflow)
    check_relay_finished(bench, watch, parent)
    assert f"Workflow execution {workflow} is left to the relay: GET" in log_of_mistral(bench)


def test_relay_finishes_the_parent_after_errors_of_stackstorm(bench: Bench, watch: PutWatch) -> None:
    parent, workflow = waiting(bench)
    watch.fault = answer(500, {"faultstring": "Internal Server Error"})
    complete(bench, workflow)
    left = f"Workflow execution {workflow} is left to the relay: PUT"
    eventually(lambda: left in log_of_mistral(bench), "the notifier gives up")
    watch.fault = None
    check_relay_finished(bench, watch, parent)


def test_slow_request_of_the_notifier_does_not_double_the_end(bench: Bench, watch: PutWatch) -> None:
    """The relay is faster then. StackStorm refuses the late request."""
    parent, workflow = waiting(bench)
    first, release = threading.Event(), threading.Event()

    def hold_the_first(exchange: Exchange) -> bool:
        if not first.is_set():
            first.set()
            release.wait(30)
        return watch.pass_on(exchange)

    watch.fault = hold_the_first
    complete(bench, workflow)
    assert first.wait(30)
    done = ended(bench, parent, timeout=60)
    check_relay_finished(bench, watch, parent)
    release.set()
    eventually(lambda: [p.answered for p in watch.puts if p.execution_id == parent] == [200, 400])
    assert bench.stackstorm.executions.get(parent)["result"] == done["result"]
    assert watch.ends()[parent] == 1


def test_relay_finishes_the_parent_if_the_notifier_is_killed(bench: Bench, watch: PutWatch) -> None:
    """Between the event and the request to StackStorm."""
    parent, workflow = waiting(bench)
    first = threading.Event()

    def lose_the_first(exchange: Exchange) -> bool:
        if first.is_set():
            return watch.pass_on(exchange)
        first.set()
        return False

    watch.fault = lose_the_first
    complete(bench, workflow)
    assert first.wait(30)
    server = bench.sandbox.mistral_server
    assert server.pid is not None
    os.killpg(server.pid, signal.SIGKILL)
    server.stop()
    assert watch.ends()[parent] == 0
    server.start()
    check_relay_finished(bench, watch, parent)
