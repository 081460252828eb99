"""Test what the listeners hear of the event stream, and when it is opened again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from support.breaking_servers import BreakingServer, answer, raw
from support.waiting import eventually

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts
from st2actions_mistral.relay.watch import StreamSource
from st2actions_mistral.workqueue import Backoff

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\n"


class Listener:
    def __init__(self) -> None:
        self.heard: list[Mapping[str, Any]] = []
        self.streaming: list[bool] = []
        self.breaks = False

    def on_execution_event(self, execution: Mapping[str, Any]) -> None:
        if self.breaks:
            self.breaks = False
            raise ZeroDivisionError
        self.heard.append(execution)

    def on_streaming(self, streaming: bool) -> None:
        self.streaming.append(streaming)


class Watching:
    def __init__(self, settings: St2Settings) -> None:
        self.listeners = [Listener(), Listener()]
        self.resync = threading.Event()
        self.source = StreamSource(
            settings,
            self.listeners,
            resync=self.resync,
            reconnect=Backoff(first=0.1, longest=30, jitter=lambda: 1),
        )
        self.thread = threading.Thread(target=self.source.run)

    @property
    def heard(self) -> list[Mapping[str, Any]]:
        assert self.listeners[0].heard == self.listeners[1].heard
        return self.listeners[0].heard


@contextmanager
def watching(settings: St2Settings) -> Iterator[Watching]:
    seen = Watching(settings)
    seen.thread.start()
    try:
        yield seen
    finally:
        seen.source.close()
        seen.thread.join(5)
        assert not seen.thread.is_alive()


def settings_of(server: BreakingServer) -> St2Settings:
    return St2Settings(
        api_url=server.url, stream_url=f"{server.url}/stream", timeouts=Timeouts(1, 1, 1)
    )


class Sandbox:
    """A StackStorm whose executions a listener hears of."""

    def __init__(self, stackstorm: StackStorm) -> None:
        self.stackstorm = stackstorm
        self.key = stackstorm.create_api_key()
        self.settings = St2Settings(api_url=stackstorm.api_url, credential=Credential(api_key=self.key))

    def run(self) -> str:
        response = requests.post(
            f"{self.stackstorm.api_url}/executions",
            json={"action": "core.noop"},
            headers={"St2-Api-Key": self.key},
            timeout=5,
        )
        response.raise_for_status()
        return str(response.json()["id"])


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with StackStorm() as server:
        yield Sandbox(server)


def test_every_listener_hears_of_each_change_with_the_result(sandbox: Sandbox) -> None:
    with watching(sandbox.settings) as seen:
        assert seen.resync.wait(5)
        id_ = sandbox.run()
        eventually(lambda: "succeeded" in [event["status"] for event in seen.listeners[1].heard])
        assert {event["id"] for event in seen.heard} == {id_}
        assert "result" in seen.heard[-1]
        assert abs(time.time() - seen.source.last_contact()) < 5
    assert seen.source.last_contact() == 0


def test_listeners_know_while_all_events_arrive(sandbox: Sandbox) -> None:
    with watching(sandbox.settings) as seen:
        assert seen.resync.wait(5)
        assert [listener.streaming for listener in seen.listeners] == [[True], [True]]
    assert [listener.streaming for listener in seen.listeners] == [[True, False], [True, False]]


def test_listener_that_fails_misses_one_event(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(sandbox.settings) as seen:
        assert seen.resync.wait(5)
        seen.resync.clear()
        first, second = seen.listeners
        first.breaks = True
        id_ = sandbox.run()
        assert seen.resync.wait(5)
        eventually(lambda: "succeeded" in [event["status"] for event in second.heard])
        assert first.heard[0] == second.heard[1]
        assert first.streaming == [True]
        assert f"An event of StackStorm execution {id_} was ignored." in caplog.text
        assert "ZeroDivisionError" in caplog.text


def test_empty_stream_is_opened_again_after_a_pause() -> None:
    # nginx in front of a dead stream service: 200, a line, and the end.
    head = {"Content-Type": "text/event-stream"}
    begun = time.monotonic()
    with (
        BreakingServer(answer(200, b"retry: 1000\n\n", head)) as server,
        watching(settings_of(server)),
    ):
        eventually(lambda: len(server.requests) >= 4, "the stream is opened again")
        assert time.monotonic() - begun >= 0.1 + 0.2 + 0.4


def test_rejected_stream_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    with (
        BreakingServer(answer(503, {"faultstring": "not now"}), raw(HEAD)) as server,
        watching(settings_of(server)) as seen,
    ):
        assert seen.resync.wait(5)
    assert "not now" in caplog.text


def test_broken_frame_does_not_end_the_stream() -> None:
    frames = (
        b"event: st2.execution__update\ndata: {not json\n\n"
        b"event: st2.execution__update\ndata: [1]\n\n"
        b'event: st2.execution__update\ndata: {"id": "x", "status": "succeeded"}\n\n'
    )
    with (
        BreakingServer(raw(HEAD, frames)) as server,
        watching(settings_of(server)) as seen,
    ):
        eventually(lambda: seen.listeners[1].heard)
    assert seen.heard[0] == {"id": "x", "status": "succeeded"}
    # After each, some events may have been missed.
    assert seen.listeners[0].streaming == [True, True, True, False]
