from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    answer,
    endless_line,
    garbage,
    hang_up,
    raw,
    redirect,
    refusing,
    reset,
)
from support.waiting import eventually

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.limits import DEFAULT, Limits
from st2actions_mistral.client.settings import Credential, CredentialNames, St2Settings, Timeouts
from st2actions_mistral.client.stream import Event, EventStream, frames
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown

FAST = Timeouts(connect_timeout=0.3, read_timeout=0.3, retry_deadline=1)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@pytest.fixture
def st2() -> Iterator[StackStorm]:
    with StackStorm(heartbeat=0.1) as running:
        yield running


def settings(url: str, timeouts: Timeouts = FAST, **credential: str) -> St2Settings:
    return St2Settings(
        f"{url}/v1", Credential(**credential), stream_url=f"{url}/v1/stream", timeouts=timeouts
    )


def frame(execution: Any) -> bytes:
    lines = ["event: st2.execution__update", f"data: {json.dumps(execution)}", "", ""]
    return "\n".join(lines).encode()


def read(*pieces: bytes, every: float = 0, bounds: Limits = DEFAULT) -> list[Event | None]:
    script = raw(HEAD, *pieces, then=hang_up(), every=every)
    with (
        BreakingServer(script) as server,
        EventStream(settings(server.url), bounds=bounds) as stream,
    ):
        return list(stream.events())


def executions(events: list[Event | None]) -> list[dict[str, Any]]:
    assert events[0] is None
    return [event.execution for event in events[1:] if event is not None]


ONE = {"id": "1", "status": "running", "context": {"mistral": {"site": "é😀"}}}
TWO = {"id": "2", "status": "succeeded", "result": {"stdout": "line\nline\u2028\r"}}


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"\xef\xbb\xbf\r\ndata: a\r\n\r\n", ["a"]),
        (b"data: a\ndata:b\rdata:  c\r\n\r\n", ["a\nb\n c"]),
        (b"data\n\ndata:\n\ndata: \n\n", ["", "", ""]),
        (b"id: 1\nevent: x\n: data: c\ndatabase: d\n data: e\ndata: a\nretry: 1\n\n", ["a"]),
        (b"event: x\n\n\n\n: c\n\ndata: a\n\n", ["a"]),
        ("data: é\u2028\u0085\v\f😀\n\n".encode(), ["é\u2028\u0085\v\f😀"]),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", ["a", "b", "c"]),
        # Not finished by a blank line.
        (b"data: a\n\ndata: b\n", ["a"]),
        (b"data: a\n\ndata: b", ["a"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_frames_yields_the_data_of_each_event(stream: bytes, expected: list[str], size: int) -> None:
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert list(frames(pieces, "http://x")) == expected


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_counts_one_event_across_pieces(size: int) -> None:
    bounds = Limits(frame_bytes=100, frame_lines=3)
    accepted = b": comment\ndata: " + b"x" * 70 + b"\n\n"
    for stream in (accepted * 5 + b"data: " + b"x" * 95, accepted + b"a\n" * 4):
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        with pytest.raises(OutcomeUnknown, match="100 bytes or 3 lines"):
            list(frames(pieces, "http://x", bounds))


def test_events_of_an_execution_come_in_order(st2: StackStorm) -> None:
    given = St2Settings(
        st2.api_url, Credential(api_key=st2.create_api_key()), stream_url=st2.stream_url, timeouts=FAST
    )
    with EventStream(given) as stream:
        events = stream.events()
        assert next(events) is None
        import requests

        made = requests.post(
            f"{st2.api_url}/executions",
            json={"action": "core.local", "parameters": {"cmd": "echo hello"}},
            headers={"X-Auth-Token": st2.create_token()},
            timeout=5,
        ).json()
        seen: list[dict[str, Any]] = []
        for event in events:
            assert event is not None
            assert event.execution["id"] == made["id"]
            seen.append(event.execution)
            if event.execution["status"] == "succeeded":
                break
    assert seen[0]["status"] == "requested"
    assert seen[-1]["result"]["stdout"] == "hello"


def test_stream_asks_for_executions_with_its_credential() -> None:
    with BreakingServer(raw(HEAD, b"\n", then=hang_up())) as server:
        with EventStream(settings(server.url, api_key="k")) as stream:
            assert list(stream.events()) == [None]
        [request] = server.requests
    assert request.path.startswith("/v1/stream?events=st2.execution__create%2Cst2.execution__update")
    assert request.headers["st2-api-key"] == "k"
    assert request.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("size", [1, 2, 7])
def test_events_are_joined_from_pieces(size: int) -> None:
    data = b"\n" + frame(ONE) + b"\n\n" + frame(TWO)
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert executions(read(*pieces, every=0.001)) == [ONE, TWO]


def test_event_arrives_while_the_stream_is_open() -> None:
    # Behind nginx there are no chunks: a reader that waits for a full buffer waits for ever.
    with BreakingServer(raw(HEAD, b"\n" + frame(ONE))) as server:
        started = time.monotonic()
        with EventStream(settings(server.url)) as stream:
            events = stream.events()
            assert next(events) is None
            assert next(events) == Event(ONE)
        assert time.monotonic() - started < 2


def test_large_event_takes_reasonable_time() -> None:
    large = {"id": "1", "status": "succeeded", "result": {"stdout": "x" * 8_000_000}}
    started = time.thread_time()
    assert executions(read(b"\n", frame(large))) == [large]
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    "noise", [b"\n\n\n", b": a comment\n\n", b"retry: 1000\n\n", b"event: x\ndata:\n\n"]
)
def test_frames_without_data_are_no_events(noise: bytes) -> None:
    assert read(b"\n", noise, frame(ONE)) == [None, Event(ONE)]


@pytest.mark.parametrize(
    ("malformed", "reason"),
    [
        (b"event: x\ndata: hush {\n\n", "6 characters was ignored: it is not JSON"),
        (b"event: x\ndata: " + b"[" * 100_000 + b"\n\n", "it is not JSON"),
        (frame(None), "it is not an object"),
        (frame([]), "it is not an object"),
        (frame({"id": "x"}), "its execution has no status"),
        (frame({"id": 5, "status": "running"}), "its execution has no id"),
        (frame({"id": "x", "status": None}), "its execution has no status"),
    ],
)
def test_event_that_cannot_be_read_is_none(
    malformed: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert read(b"\n", malformed, frame(ONE)) == [None, None, Event(ONE)]
    assert reason in caplog.text
    assert "hush" not in caplog.text


def test_empty_stream_yields_nothing() -> None:
    assert read() == []


def test_dead_stream_service_behind_nginx_ends_the_stream() -> None:
    assert read(b"retry: 1000\n\n") == [None]


def broken(url: str, bounds: Limits = DEFAULT) -> list[Event | None]:
    """Return the events of a stream before it breaks."""
    seen: list[Event | None] = []

    def listen(stream: EventStream) -> None:
        for event in stream.events():
            seen.append(event)

    with EventStream(settings(url), bounds=bounds) as stream, pytest.raises(OutcomeUnknown):
        listen(stream)
    return seen


def test_broken_stream_raises_after_its_events() -> None:
    script = raw(HEAD, b"\n", frame(ONE), then=reset(), every=0.1)
    with BreakingServer(script) as server:
        assert broken(server.url) == [None, Event(ONE)]


def test_silent_stream_raises() -> None:
    with BreakingServer(raw(HEAD, b"\n", frame(ONE))) as server:
        assert broken(server.url, Limits(stream_silence=0.3)) == [None, Event(ONE)]


def test_heartbeats_keep_the_stream_alive() -> None:
    bounds = Limits(stream_silence=0.3)
    assert executions(read(*[b"\n"] * 6, frame(ONE), every=0.08, bounds=bounds)) == [ONE]


def test_endless_line_raises() -> None:
    with (
        BreakingServer(endless_line(HEAD + b"\ndata: ")) as server,
        EventStream(settings(server.url), bounds=Limits(frame_bytes=200_000)) as stream,
        pytest.raises(OutcomeUnknown, match="200000"),
    ):
        list(stream.events())


@pytest.mark.parametrize(
    "lines",
    [
        b"data: x\n" * 300_000,
        b"data: x\r" * 300_000,
        b": x\n" * 300_000,
        # The many lines are in the last piece.
        b"data: " + b"x" * 30_000_000 + b"\n" + b"a\n" * 30_000 + b"\n",
        b"a\n" * 30_000 + b"\n",
    ],
)
def test_event_of_many_lines_raises_at_once(lines: bytes) -> None:
    started = time.thread_time()
    with pytest.raises(OutcomeUnknown, match="or 100 lines"):
        read(b"\n", lines)
    assert time.thread_time() - started < 5


def test_many_events_are_not_one_long_event() -> None:
    frames = (b"\n" * 100 + frame(ONE)) * 1000
    assert executions(read(b"\n", frames)) == [ONE] * 1000


@pytest.mark.parametrize("size", [1_000, 65_536])
def test_large_event_arrives_in_pieces_of_any_size(size: int) -> None:
    large = {"id": "1", "status": "succeeded", "result": {"stdout": "x" * 16_000_000}}
    data = b"\n" + frame(large) + frame(ONE)
    started = time.thread_time()
    assert executions(read(*[data[i : i + size] for i in range(0, len(data), size)])) == [large, ONE]
    assert time.thread_time() - started < 10


def test_compressed_stream_is_not_unpacked() -> None:
    headers = {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}
    with (
        BreakingServer(answer(200, b"x", headers)) as server,
        pytest.raises(OutcomeUnknown, match="compressed"),
    ):
        EventStream(settings(server.url))


def test_invalid_utf8_raises() -> None:
    with pytest.raises(OutcomeUnknown, match="UTF-8"):
        read(b"\n", b"data: \xff\xfe\n\n", frame(ONE))


def test_interrupt_ends_a_stream_that_another_thread_reads() -> None:
    seen: list[Event | None] = []
    with BreakingServer(raw(HEAD, b"\n")) as server, EventStream(settings(server.url)) as stream:

        def read_all() -> None:
            for event in stream.events():
                seen.append(event)

        reader = threading.Thread(target=read_all)
        reader.start()
        eventually(lambda: seen, "the stream is open")
        stream.interrupt()
        reader.join(5)
        assert not reader.is_alive()
        stream.interrupt()
    assert seen == [None]


def test_closed_stream_accepts_interrupt_and_close() -> None:
    with BreakingServer(raw(HEAD, b"\n", then=hang_up())) as server:
        with EventStream(settings(server.url)) as stream:
            assert list(stream.events()) == [None]
        stream.interrupt()
        stream.close()


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (reset(), OutcomeUnknown),
        (garbage(), OutcomeUnknown),
        (answer(502), OutcomeUnknown),
        (answer(404), Answered),
        (answer(401), Answered),
        (redirect("http://127.0.0.1:1/"), Answered),
    ],
)
def test_stream_that_cannot_be_opened_is_a_remote_error(
    behaviour: Behaviour, error: type[Exception]
) -> None:
    with BreakingServer(behaviour) as server, pytest.raises(error):
        EventStream(settings(server.url))


def test_refused_stream_is_not_sent() -> None:
    with refusing() as url, pytest.raises(NotSent):
        EventStream(settings(url))


def test_stream_401_names_the_option() -> None:
    with BreakingServer(answer(401)) as server:
        given = settings(server.url, api_key="hush", names=CredentialNames(api_key="[x] key"))
        with pytest.raises(Answered, match=r"401 \w+\. StackStorm .*\[x\] key") as caught:
            EventStream(given)
        assert len(server.requests) == 1
    assert "hush" not in str(caught.value)


def test_stream_401_renews_the_token_of_a_password() -> None:
    token = answer(201, {"token": "t"})
    script = [token, answer(401), token, raw(HEAD, b"\n", then=hang_up())]
    with BreakingServer(*script) as server:
        given = settings(server.url, Timeouts(), username="u", password="p", auth_url=server.url)
        with EventStream(given) as stream:
            assert list(stream.events()) == [None]
        assert server.calls() == ["POST /tokens", "GET /v1/stream"] * 2
