"""Servers that answer without end, or something else than they should: bounded memory, bounded time,
and an error of ours."""

from __future__ import annotations

import contextlib
import gc
import gzip
import time
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    answer,
    endless_line,
    hang_up,
    raw,
)

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.session import json_body, new_session, send
from st2actions_mistral.client.settings import MistralSettings, Timeouts, Tls
from st2actions_mistral.client.translate import request_errors
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError

TIMEOUTS = Timeouts(connect_timeout=2, read_timeout=20)
MIB = 1024 * 1024


def get(url: str, timeouts: Timeouts = TIMEOUTS) -> Any:
    with contextlib.closing(new_session(Tls())) as session:
        return json_body(send(session, "GET", url, timeouts), "GET", url)


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


def test_endless_body_is_an_error() -> None:
    # Twice the bound, for the pieces are joined.
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


ODD_HEADERS = [
    {"Content-Type": "text/plain; charset=undefined"},
    {"Content-Type": "text/plain; charset=idna"},
    {"Content-Type": "text/plain; charset=nonsense"},
    {"Content-Type": "text/plain; charset=base64"},
    {"Retry-After": "Mon, 99999999999 Jan 2020 00:00:00 GMT"},
    {"Retry-After": "Mon, 01 Jan 2020 00:00:00 +99999999999999"},
    {"Retry-After": "9" * 5000},
    {"Retry-After": "nan"},
    {"Location": "http://[" + "x" * 5000},
    {"Set-Cookie": "a=b; expires=Mon, 01 Jan 99999999999 00:00:00 GMT; Max-Age=" + "9" * 5000},
]


@pytest.mark.parametrize("headers", ODD_HEADERS)
@pytest.mark.parametrize(("status", "kind"), [(302, Answered), (404, Answered), (503, OutcomeUnknown)])
def test_error_response_with_a_malformed_header_keeps_its_status(
    status: int, kind: type[RemoteError], headers: dict[str, str]
) -> None:
    body = b"No: \xff\xc3\xa9."
    with BreakingServer(answer(status, body, headers)) as server, pytest.raises(kind) as caught:
        get(server.url)
    assert getattr(caught.value, "status", None) == status
    # urllib3 reads a year beyond its calendar as its longest wait.
    assert caught.value.retry_after in (None, 0, 21600)
    assert status == 302 or "No: \ufffdé." in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        "Transfer-Encoding: chunked\r\n\r\n" + "f" * 100,
        "Transfer-Encoding: chunked\r\n\r\n-5",
        "Content-Length: " + "9" * 5000,
        "Content-Length: " + "9" * 30,
        "Content-Length: -1",
    ],
)
@pytest.mark.parametrize("status", [200, 503])
def test_malformed_length_is_unknown(status: int, head: str) -> None:
    told = f"HTTP/1.1 {status} x\r\n{head}\r\n\r\n".encode()
    with BreakingServer(raw(told, then=hang_up())) as server, pytest.raises(OutcomeUnknown):
        get(server.url)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("status", [200, 503])
def test_two_lengths_are_unknown(status: int) -> None:
    with (
        BreakingServer(answer(status, {}, {"Content-Length": "1, 2"})) as server,
        pytest.raises(OutcomeUnknown),
    ):
        get(server.url)
    # urllib3 leaves the connection to the collector of garbage, which says so.
    gc.collect()


@pytest.mark.parametrize("error", [ValueError, OverflowError, IndexError, AttributeError])
def test_request_errors_hides_what_libraries_raise_for_a_malformed_response(
    error: type[Exception],
) -> None:
    words = f"cannot be read .{error.__name__}"
    with pytest.raises(OutcomeUnknown, match=words) as caught, request_errors("GET", "http://x"):
        raise error("hush")
    assert "hush" not in str(caught.value)


def test_unencodable_query_is_not_sent() -> None:
    with BreakingServer(answer(200, {})) as server, contextlib.closing(new_session(Tls())) as session:
        with pytest.raises(NotSent, match="cannot be made") as caught:
            send(session, "GET", server.url, TIMEOUTS, params={"id": "hush\ud800"})
        assert server.requests == []
    assert caught.value.permanent
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("date", "hour"),
    [
        ("Thu, 01 Oct 2026 12:00:00 GMT", 12),
        ("Thu Oct  1 12:00:00 2026", 12),
        ("Mon, 99999999999 Jan 2020 00:00:00 GMT", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999", None),
        ("nonsense", None),
    ],
)
def test_clock_of_a_malformed_date_is_none(date: str, hour: int | None) -> None:
    with (
        BreakingServer(answer(200, {}, {"Date": date})) as server,
        contextlib.closing(MistralClient(MistralSettings(server.url, timeouts=TIMEOUTS))) as mistral,
    ):
        told = mistral.clock()
    assert told == (hour and datetime(2026, 10, 1, hour, tzinfo=timezone.utc))


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


# -- what an answer repeats ----------------------------------------------------------------------

SAID = "Canary-Key"
EMPTY = b"\r\nContent-Length: 0\r\n\r\n"


def head(text: str) -> Behaviour:
    return raw(text.replace("SAID", SAID).encode() + EMPTY, then=hang_up())


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (head("SAID"), "no HTTP status line"),
        (head("HTTP/1.1 SAID OK"), "no HTTP status line"),
        (head("HTTP/SAID 200 OK"), "an unknown version of HTTP"),
        (head("HTTP/1.1 400 SAID"), "400 …"),
        (head("HTTP/1.1 500 SAID"), "500 …"),
        (head("HTTP/1.1 200 OK\r\nContent-Encoding: SAID"), "compressed, unasked"),
        (head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nSAID"), "a broken chunk"),
        (head("HTTP/1.1 302 OK\r\nLocation: http://host/SAID?SAID#SAID"), "redirects to http://host."),
        (head("HTTP/1.1 302 OK\r\nLocation: http://SAID@SAID/"), "redirects to http://…."),
        (head("HTTP/1.1 302 OK\r\nLocation: SAID"), "redirects to http://127.0.0.1:"),
        (head("HTTP/1.1 400 No\r\nSAID\r\nX: SAID"), "400 No"),
        (answer(200, {}, {f"X-{n}": SAID for n in range(200)}), "unreadable headers"),
        (hang_up(), "the server closed the connection without a response"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", then=hang_up()), "ended early"),
    ],
)
def test_error_does_not_quote_a_response_that_repeats_the_request(
    behaviour: Behaviour, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with (
        BreakingServer(behaviour) as server,
        contextlib.closing(new_session(Tls())) as session,
        pytest.raises(RemoteError) as caught,
    ):
        send(session, "POST", server.url, TIMEOUTS, headers={"St2-Api-Key": SAID}, json={})
    assert words in str(caught.value)
    shown = f"{caught.value}{caught.value!r}{caplog.text}".lower()
    assert SAID.lower() not in shown


def test_log_text_of_a_redirect_has_no_target() -> None:
    with (
        BreakingServer(head("HTTP/1.1 302 OK\r\nLocation: http://SAID/")) as server,
        contextlib.closing(new_session(Tls())) as session,
        pytest.raises(Answered) as caught,
    ):
        send(session, "POST", server.url, TIMEOUTS, json={"p": SAID})
    assert SAID not in caught.value.log_text()
    assert "configure the real URL" in caught.value.log_text()


def test_compressed_error_response_keeps_its_status() -> None:
    headers = {"Content-Encoding": "gzip"}
    with (
        BreakingServer(answer(404, gzip.compress(b"{}"), headers)) as server,
        pytest.raises(Answered, match="404"),
    ):
        get(server.url)


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
    begun = time.monotonic()
    with (
        BreakingServer(raw(*pieces, every=0.05)) as server,
        pytest.raises(OutcomeUnknown, match="took too long"),
    ):
        get(server.url, Timeouts(connect_timeout=1, read_timeout=0.3))
    assert 1 < time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"{", b"nonsense", b"\xff\xfe", b"[1, 2]", b"null", b"5"]
)
def test_body_that_is_no_object_is_unknown(body: bytes) -> None:
    headers = {"Content-Type": "text/html"}
    with BreakingServer(answer(200, body, headers)) as server, pytest.raises(OutcomeUnknown):
        get(server.url)


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
