"""Servers that respond without end: bounded memory and bounded time."""

from __future__ import annotations

import contextlib
import gzip
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from support.breaking_servers import Behaviour, BreakingServer, Exchange, answer, endless_line, raw

from st2actions_mistral.client.limits import Limits, Progress
from st2actions_mistral.client.session import json_body, new_session, send
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.errors import Answered, OutcomeUnknown, RemoteError

TIMEOUTS = Timeouts(connect_timeout=2, read_timeout=20)
MIB = 1024 * 1024


def get(url: str, timeouts: Timeouts = TIMEOUTS) -> Any:
    with contextlib.closing(new_session(Tls())) as session:
        return json_body(send(session, "GET", url, timeouts), "GET", url)


def endless(status: int, reason: str = "x") -> Behaviour:
    """Send a body without an end."""

    def act(exchange: Exchange) -> bool:
        exchange.send(f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            while not exchange.stopping.is_set():
                exchange.sock.sendall(b"x" * 65536)
        return False

    return act


@contextlib.contextmanager
def at_most(mib: float) -> Iterator[None]:
    """Check that the memory allocated meanwhile stays below a limit."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()
    assert peak < mib, f"{peak:.0f} MiB"


def test_endless_body_is_an_error() -> None:
    # Twice the limit, because the pieces are joined.
    with (
        BreakingServer(endless(200)) as server,
        at_most(150),
        pytest.raises(OutcomeUnknown, match="is larger than 67108864 bytes"),
    ):
        get(server.url)


@pytest.mark.parametrize(("status", "kind"), [(404, Answered), (503, OutcomeUnknown)])
def test_endless_error_body_is_truncated(status: int, kind: type[RemoteError]) -> None:
    with BreakingServer(endless(status)) as server, at_most(5), pytest.raises(kind) as caught:
        get(server.url)
    assert len(str(caught.value)) < 1000


def test_compressed_response_is_not_unpacked() -> None:
    bomb = gzip.compress(b"0" * (200 * MIB))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    with (
        BreakingServer(answer(200, bomb, headers)) as server,
        at_most(5),
        pytest.raises(OutcomeUnknown, match=r"compressed \(gzip\)"),
    ):
        get(server.url)
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_endless_header_is_unknown() -> None:
    with (
        BreakingServer(endless_line(b"HTTP/1.1 200 OK\r\nX-Long: ")) as server,
        at_most(5),
        pytest.raises(OutcomeUnknown),
    ):
        get(server.url)


def test_many_headers_are_unknown() -> None:
    headers = {f"X-{number}": "x" * 1000 for number in range(10_000)}
    with (
        BreakingServer(answer(200, {}, headers)) as server,
        at_most(30),
        pytest.raises(OutcomeUnknown),
    ):
        get(server.url)


def test_slow_body_times_out_after_four_read_timeouts() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b" "] * 1000]
    started = time.monotonic()
    with (
        BreakingServer(raw(*pieces, every=0.05)) as server,
        pytest.raises(OutcomeUnknown, match="took too long"),
    ):
        get(server.url, Timeouts(connect_timeout=1, read_timeout=0.3))
    assert 1 < time.monotonic() - started < 5


def test_large_response_within_the_limits_keeps_the_connection() -> None:
    text = "é" * (8 * MIB)
    with (
        BreakingServer(answer(200, {"text": text})) as server,
        contextlib.closing(new_session(Tls())) as session,
    ):
        for _ in range(2):
            assert json_body(send(session, "GET", server.url, TIMEOUTS), "GET", "http://x") == {
                "text": text
            }
        assert server.connections == 1


def test_progress_rejects_a_listing_with_too_many_rows() -> None:
    progress = Progress("http://x", Limits(listing_rows=25))
    for page in range(2):
        progress.add({"id": f"{page}-{n}"} for n in range(10))
    with pytest.raises(OutcomeUnknown, match=r"GET http://x: .* more than 25 rows"):
        progress.add({"id": f"2-{n}"} for n in range(10))


def test_progress_rejects_a_listing_that_repeats_its_rows() -> None:
    progress = Progress("http://x", Limits(stale_pages=2))
    progress.add([{"id": "0"}])
    progress.add([{"id": "0"}])
    with pytest.raises(OutcomeUnknown, match="without a new row"):
        progress.add([{"id": "0"}])


def test_progress_accepts_repeated_rows_beside_new_ones() -> None:
    progress = Progress("http://x")
    for n in range(20):
        progress.add([{"id": "0"}, {"id": str(n // 2)}])


def test_progress_does_not_keep_the_ids() -> None:
    progress = Progress("http://x")
    tracemalloc.start()
    try:
        for n in range(10):
            progress.add([{"id": f"{n}" * 1_000_000}])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000
