"""Servers that answer without end, or something else than they should: bounded memory, bounded time,
and an error of ours."""

from __future__ import annotations

import contextlib
import gzip
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from breaking import Behaviour, BreakingServer, Exchange, answer, endless_line, raw

from st2actions_mistral.client.session import json_body, new_session, send
from st2actions_mistral.client.settings import Patience, Tls
from st2actions_mistral.errors import Answered, OutcomeUnknown, RemoteError

PATIENCE = Patience(connect_timeout=2, read_timeout=20)
MIB = 1024 * 1024


def get(url: str, patience: Patience = PATIENCE) -> Any:
    with contextlib.closing(new_session(Tls())) as session:
        return json_body(send(session, "GET", url, patience), f"GET {url}")


def endless(status: int, reason: str = "x") -> Behaviour:
    """A body that does not end."""

    def act(exchange: Exchange) -> bool:
        exchange.send(f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            while not exchange.stopping.is_set():
                exchange.sock.sendall(b"x" * 65536)
        return False

    return act


@contextlib.contextmanager
def at_most(mib: float) -> Iterator[None]:
    """What is allocated meanwhile stays below."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()
    assert peak < mib, f"{peak:.0f} MiB"


def test_a_body_without_end_is_an_error() -> None:
    # Twice the bound, for the pieces are joined.
    with (
        BreakingServer(endless(200)) as server,
        at_most(150),
        pytest.raises(OutcomeUnknown, match="is larger than 67108864 bytes"),
    ):
        get(server.url)


@pytest.mark.parametrize(("status", "kind"), [(404, Answered), (503, OutcomeUnknown)])
def test_of_a_refusal_without_end_the_beginning_counts(status: int, kind: type[RemoteError]) -> None:
    with BreakingServer(endless(status)) as server, at_most(5), pytest.raises(kind) as caught:
        get(server.url)
    assert len(str(caught.value)) < 1000


def test_what_is_compressed_unasked_is_not_unpacked() -> None:
    bomb = gzip.compress(b"0" * (200 * MIB))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    with (
        BreakingServer(answer(200, bomb, headers)) as server,
        at_most(5),
        pytest.raises(OutcomeUnknown, match=r"compressed \(gzip\)"),
    ):
        get(server.url)
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_a_compressed_refusal_is_a_refusal() -> None:
    headers = {"Content-Encoding": "gzip"}
    with (
        BreakingServer(answer(404, gzip.compress(b"{}"), headers)) as server,
        pytest.raises(Answered, match="404"),
    ):
        get(server.url)


def test_a_header_without_end_is_an_error() -> None:
    with (
        BreakingServer(endless_line(b"HTTP/1.1 200 OK\r\nX-Long: ")) as server,
        at_most(5),
        pytest.raises(OutcomeUnknown),
    ):
        get(server.url)


def test_many_headers_are_an_error() -> None:
    headers = {f"X-{number}": "x" * 1000 for number in range(10_000)}
    with (
        BreakingServer(answer(200, {}, headers)) as server,
        at_most(30),
        pytest.raises(OutcomeUnknown),
    ):
        get(server.url)


def test_a_body_that_comes_by_the_byte_takes_no_longer_than_four_silences() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b" "] * 1000]
    begun = time.monotonic()
    with (
        BreakingServer(raw(*pieces, every=0.05)) as server,
        pytest.raises(OutcomeUnknown, match="took too long"),
    ):
        get(server.url, Patience(connect_timeout=1, read_timeout=0.3))
    assert 1 < time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"{", b"nonsense", b"\xff\xfe", b"[1, 2]", b"null", b"5"]
)
def test_what_is_no_object_is_an_error(body: bytes) -> None:
    headers = {"Content-Type": "text/html"}
    with BreakingServer(answer(200, body, headers)) as server, pytest.raises(OutcomeUnknown):
        get(server.url)


def test_a_large_answer_within_the_bounds_is_taken_and_the_connection_kept() -> None:
    text = "é" * (8 * MIB)
    with (
        BreakingServer(answer(200, {"text": text})) as server,
        contextlib.closing(new_session(Tls())) as session,
    ):
        for _ in range(2):
            assert json_body(send(session, "GET", server.url, PATIENCE), "x") == {"text": text}
        assert server.connections == 1
