"""Malformed responses: an error of this package that quotes nothing."""

from __future__ import annotations

import contextlib
import gc
import gzip
from typing import Any

import pytest
from support.breaking_servers import Behaviour, BreakingServer, answer, hang_up, raw

from st2actions_mistral.client.session import json_body, new_session, send
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.client.translate import request_errors
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError

TIMEOUTS = Timeouts(connect_timeout=2, read_timeout=20)


def get(url: str, timeouts: Timeouts = TIMEOUTS) -> Any:
    with contextlib.closing(new_session(Tls())) as session:
        return json_body(send(session, "GET", url, timeouts), "GET", url)


MALFORMED_HEADERS = [
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


@pytest.mark.parametrize("headers", MALFORMED_HEADERS)
@pytest.mark.parametrize(("status", "kind"), [(302, Answered), (404, Answered), (503, OutcomeUnknown)])
def test_error_response_with_a_malformed_header_keeps_its_status(
    status: int, kind: type[RemoteError], headers: dict[str, str]
) -> None:
    body = b"No: \xff\xc3\xa9."
    with BreakingServer(answer(status, body, headers)) as server, pytest.raises(kind) as caught:
        get(server.url)
    assert getattr(caught.value, "status", None) == status
    # A year beyond the calendar counts as the longest wait.
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
    response = f"HTTP/1.1 {status} x\r\n{head}\r\n\r\n".encode()
    with BreakingServer(raw(response, then=hang_up())) as server, pytest.raises(OutcomeUnknown):
        get(server.url)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("status", [200, 503])
def test_two_lengths_are_unknown(status: int) -> None:
    with (
        BreakingServer(answer(status, {}, {"Content-Length": "1, 2"})) as server,
        pytest.raises(OutcomeUnknown),
    ):
        get(server.url)
    # urllib3 does not close the connection; the garbage collector warns about that.
    gc.collect()


@pytest.mark.parametrize("error", [ValueError, OverflowError, IndexError, AttributeError])
def test_request_errors_hides_what_libraries_raise_for_a_malformed_response(
    error: type[Exception],
) -> None:
    text = f"cannot be read .{error.__name__}"
    with (
        pytest.raises(OutcomeUnknown, match=text) as caught,
        request_errors("GET", "http://x", TIMEOUTS),
    ):
        raise error("hush")
    assert "hush" not in str(caught.value)


def test_unencodable_query_is_not_sent() -> None:
    with BreakingServer(answer(200, {})) as server, contextlib.closing(new_session(Tls())) as session:
        with pytest.raises(NotSent, match="cannot be made") as caught:
            send(session, "GET", server.url, TIMEOUTS, params={"id": "hush\ud800"})
        assert server.requests == []
    assert caught.value.permanent
    assert "hush" not in str(caught.value)


# -- responses that repeat the request -------------------------------------------------------------

SAID = "Canary-Key"
EMPTY = b"\r\nContent-Length: 0\r\n\r\n"


def head(text: str) -> Behaviour:
    return raw(text.replace("SAID", SAID).encode() + EMPTY, then=hang_up())


@pytest.mark.parametrize(
    ("behaviour", "text"),
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
    behaviour: Behaviour, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with (
        BreakingServer(behaviour) as server,
        contextlib.closing(new_session(Tls())) as session,
        pytest.raises(RemoteError) as caught,
    ):
        send(session, "POST", server.url, TIMEOUTS, headers={"St2-Api-Key": SAID}, json={})
    assert text in str(caught.value)
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
