"""Following the stream: when it is opened again, and what is listed after that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from support.breaking_servers import BreakingServer, answer, raw

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.relay.children import Children
from st2actions_mistral.relay.loop import Watcher

SETTINGS = RelaySettings(
    site="here",
    resync_interval=30,
    reschedule_after=0,
    lost_after=0,
    cancel_orphans=True,
    workers=2,
    field_size_limit_kb=1024,
)


class Offers:
    """Stands where the delivery is: this is about what the watcher offers, not what comes of it."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, bool]] = []
        self.surplus: list[str] = []

    def offer(self, action: str, execution: str, *, child: Any = None) -> None:
        self.made.append((action, execution, child is not None))

    def offer_surplus(self, action: str) -> None:
        self.surplus.append(action)


class Watching:
    def __init__(self, settings: St2Settings) -> None:
        self.offers = Offers()
        self.children = Children()
        self.sweep_now = threading.Event()
        self.stop = threading.Event()
        self.seen: list[str] = []
        self.watcher = Watcher(
            settings,
            self.offers,  # type: ignore[arg-type]
            self.children,
            SETTINGS,
            sweep_now=self.sweep_now,
            stop=self.stop,
            seen=lambda execution: self.seen.append(execution["id"]),
        )
        self.thread = threading.Thread(target=self.watcher.run)


@contextmanager
def watching(settings: St2Settings) -> Iterator[Watching]:
    seen = Watching(settings)
    seen.thread.start()
    try:
        yield seen
    finally:
        seen.stop.set()
        seen.watcher.end()
        seen.thread.join(5)
        assert not seen.thread.is_alive()


def settings_of(server: BreakingServer) -> St2Settings:
    return St2Settings(
        api_url=server.url, stream_url=f"{server.url}/stream", timeouts=Timeouts(1, 1, 1)
    )


def eventually(look: Any) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def stackstorm() -> Iterator[StackStorm]:
    with StackStorm() as server:
        yield server


def test_what_ends_is_offered_with_its_result(stackstorm: StackStorm) -> None:
    key = stackstorm.create_api_key()
    settings = St2Settings(api_url=stackstorm.api_url, credential=Credential(api_key=key))
    with watching(settings) as seen:
        assert seen.sweep_now.wait(5)
        for context in (
            '{"mistral": {"site": "here", "action_execution_id": "a-1"}}',
            '{"mistral": {"site": "there", "action_execution_id": "a-2"}}',
            "{}",
        ):
            requests.post(
                f"{stackstorm.api_url}/executions",
                json={"action": "core.noop"},
                headers={"St2-Api-Key": key, "st2-context": context},
                timeout=5,
            ).raise_for_status()
        eventually(lambda: seen.offers.made)
        for execution in stackstorm.executions.all():
            stackstorm.executions.wait(execution["id"])
        time.sleep(0.2)
    (mine,) = [e for e in stackstorm.executions.all() if "'here'" in str(e["context"])]
    assert seen.offers.made == [("a-1", mine["id"], True)]
    assert seen.children.snapshot() == {"a-1": mine["id"]}
    # Whether it is a parent is for others to tell.
    assert set(seen.seen) == {e["id"] for e in stackstorm.executions.all()}


def test_only_while_it_follows_it_hears_of_all(stackstorm: StackStorm) -> None:
    key = stackstorm.create_api_key()
    settings = St2Settings(api_url=stackstorm.api_url, credential=Credential(api_key=key))
    with watching(settings) as seen:
        assert seen.sweep_now.wait(5)
        seen.children.note("a", "first")
        seen.children.compared(seen.children.stretch())
        assert seen.children.is_first("a", "first")
    assert not seen.children.is_first("a", "first")
    seen.children.compared(seen.children.stretch())
    assert not seen.children.is_first("a", "first")


def test_of_two_children_the_second_one_is_told(stackstorm: StackStorm) -> None:
    key = stackstorm.create_api_key()
    settings = St2Settings(api_url=stackstorm.api_url, credential=Credential(api_key=key))
    with watching(settings) as seen:
        assert seen.sweep_now.wait(5)
        for _ in range(2):
            requests.post(
                f"{stackstorm.api_url}/executions",
                json={"action": "core.noop"},
                headers={
                    "St2-Api-Key": key,
                    "st2-context": '{"mistral": {"site": "here", "action_execution_id": "a-1"}}',
                },
                timeout=5,
            ).raise_for_status()
        eventually(lambda: seen.offers.made and seen.offers.surplus)
        first, second = stackstorm.executions.all()
        stackstorm.executions.wait(second["id"])
        time.sleep(0.2)
    assert [execution for _, execution, _ in seen.offers.made] == [first["id"]]
    assert set(seen.offers.surplus) == {"a-1"}


def test_an_empty_stream_is_opened_again_after_a_while_and_not_at_once() -> None:
    # nginx in front of a dead stream service: 200, a line, and the end.
    with (
        BreakingServer(
            answer(200, b"retry: 1000\n\n", {"Content-Type": "text/event-stream"})
        ) as server,
        watching(settings_of(server)),
    ):
        time.sleep(2)
    assert 2 <= len(server.requests) <= 5


def test_a_refused_stream_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\n"
    with (
        BreakingServer(answer(503, {"faultstring": "not now"}), raw(head)) as server,
        watching(settings_of(server)) as seen,
    ):
        assert seen.sweep_now.wait(5)
    assert "not now" in caplog.text


def test_what_nobody_foresaw_does_not_end_it(
    stackstorm: StackStorm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = stackstorm.create_api_key()
    settings = St2Settings(api_url=stackstorm.api_url, credential=Credential(api_key=key))
    with watching(settings) as seen:
        assert seen.sweep_now.wait(5)
        seen.sweep_now.clear()
        with monkeypatch.context() as patched:
            patched.setattr(seen.children, "note", lambda *given: 1 / 0)
            requests.post(
                f"{stackstorm.api_url}/executions",
                json={"action": "core.noop"},
                headers={
                    "St2-Api-Key": key,
                    "st2-context": '{"mistral": {"site": "here", "action_execution_id": "a-1"}}',
                },
                timeout=5,
            ).raise_for_status()
            eventually(lambda: "ZeroDivisionError" in caplog.text)
        assert seen.sweep_now.wait(5)


def test_a_broken_frame_does_not_end_it() -> None:
    frames = (
        b"event: st2.execution__update\ndata: {not json\n\n"
        b"event: st2.execution__update\ndata: [1]\n\n"
        b'event: st2.execution__update\ndata: {"id": "x", "status": "succeeded", "context": {"mistral":'
        b' {"site": "here", "action_execution_id": "a-1"}}}\n\n'
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\n"
    with (
        BreakingServer(raw(head, frames)) as server,
        watching(settings_of(server)) as seen,
    ):
        eventually(lambda: seen.offers.made)
    # Without a result in the event, the execution is to be fetched.
    assert seen.offers.made == [("a-1", "x", False)]
