"""Every failure is NotSent, OutcomeUnknown or Answered; nothing else is raised."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    answer,
    break_in_body,
    endless_line,
    garbage,
    hang_up,
    not_accepting,
    raw,
    redirect,
    refusing,
    reset,
    stall,
    stall_in_body,
)
from support.waiting import eventually

from st2actions_mistral.client.session import check_shape, json_body, new_session, send
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError

FAST = Timeouts(connect_timeout=0.3, read_timeout=0.3)
RETRYING = Timeouts(connect_timeout=5, read_timeout=5)
HEADERS = {"St2-Api-Key": "hush-key", "X-Auth-Token": "hush-token"}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with contextlib.closing(new_session(Tls())) as made:
        yield made


def post(
    session: requests.Session, url: str, timeouts: Timeouts = RETRYING, **options: Any
) -> requests.Response:
    return send(session, "POST", f"{url}/v1/executions", timeouts, headers=HEADERS, **options)


def test_send_returns_a_2xx_and_keeps_the_connection(session: requests.Session) -> None:
    with BreakingServer(answer(201, {"id": "1"})) as server:
        for _ in range(3):
            response = post(session, server.url, json={"a": 1}, params={"q": "é b"})
            assert json_body(response, "GET", "http://x") == {"id": "1"}
        assert server.connections == 1
        assert server.requests[0].json() == {"a": 1}
        assert server.requests[0].path == "/v1/executions?q=%C3%A9+b"
        assert server.requests[0].headers["st2-api-key"] == "hush-key"


def test_refused_connection_is_not_sent(session: requests.Session) -> None:
    with refusing() as url, pytest.raises(NotSent, match="refused") as caught:
        post(session, url)
    assert not caught.value.permanent
    assert f"POST {url}/v1/executions" in str(caught.value)


def test_unknown_host_is_not_sent(session: requests.Session) -> None:
    with pytest.raises(NotSent) as caught:
        post(session, "http://no-such-host.invalid:9101")
    assert not caught.value.permanent


def test_connect_timeout_is_not_sent(session: requests.Session) -> None:
    started = time.monotonic()
    with not_accepting() as url, pytest.raises(NotSent, match=r"within 0\.3 s") as caught:
        post(session, url, FAST)
    assert not caught.value.permanent
    assert time.monotonic() - started < 2


def test_error_of_a_read_timeout_names_the_seconds(session: requests.Session) -> None:
    with BreakingServer(stall()) as server, pytest.raises(OutcomeUnknown, match=r"within 0\.3 s"):
        post(session, server.url, FAST)


@pytest.mark.parametrize(
    "behaviour",
    [
        reset(),
        hang_up(),
        stall(),
        stall_in_body(),
        break_in_body(),
        stall_in_body(400),
        break_in_body(500),
        endless_line(),
        endless_line(b"HTTP/1.1 200 OK\r\nX-Endless: "),
        garbage(),
        raw(b"HTTP/1.1 200 OK\r\n", then=hang_up()),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", then=hang_up()),
        answer(200, b"no gzip", {"Content-Encoding": "gzip"}),
        raw(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 200, then=hang_up()),
    ],
)
def test_broken_response_is_unknown(session: requests.Session, behaviour: Behaviour) -> None:
    started = time.monotonic()
    with BreakingServer(behaviour) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            json_body(post(session, server.url, FAST, json={"secret": "hush"}), "POST", "http://x")
        assert server.calls() == ["POST /v1/executions"]
    assert caught.value.status is None
    assert "hush" not in f"{caught.value!r}{caught.value}"
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_5xx_is_unknown_with_its_message(session: requests.Session, status: int) -> None:
    with (
        BreakingServer(answer(status, {"faultstring": "Out of order."})) as server,
        pytest.raises(OutcomeUnknown, match=rf"{status} Out of order\.") as caught,
    ):
        post(session, server.url)
    assert caught.value.status == status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 429, 431])
def test_4xx_is_answered_with_its_message(session: requests.Session, status: int) -> None:
    with (
        BreakingServer(answer(status, {"faultstring": "No, thanks."})) as server,
        pytest.raises(Answered) as caught,
    ):
        post(session, server.url)
    assert (caught.value.status, caught.value.message) == (status, "No, thanks.")


def test_4xx_without_a_body_has_the_reason_phrase(session: requests.Session) -> None:
    with BreakingServer(answer(400)) as server, pytest.raises(Answered) as caught:
        post(session, server.url)
    assert caught.value.message == "Bad Request"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed_and_its_target_named(session: requests.Session, status: int) -> None:
    with BreakingServer(answer(200, {"id": "stolen"})) as other:
        target = other.url.replace("://", "://user:pass@") + "/login?token=hush"
        with BreakingServer(redirect(target, status)) as server:
            with pytest.raises(Answered) as caught:
                post(session, server.url)
            assert caught.value.status == status
            assert f"redirects to {other.url}. Redirects are not followed" in str(caught.value)
            assert "hush" not in str(caught.value)
            assert "pass@" not in str(caught.value)
            assert len(server.requests) == 1
        assert other.connections == 0


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        ({"Location": "/login"}, r"redirects to http://127\.0\.0\.1:\d+\. "),
        ({"Location": "//other:80/login"}, r"http://other:80\. "),
        ({"Location": "http://[broken"}, "malformed"),
        ({"Location": "http://%zz\xff/"}, "redirects"),
        ({}, "an unnamed URL"),
    ],
)
def test_malformed_redirect_is_answered(
    session: requests.Session, headers: dict[str, str], target: str
) -> None:
    with BreakingServer(answer(302, b"", headers)) as server, pytest.raises(Answered, match=target):
        post(session, server.url)


def test_impossible_request_is_not_sent_and_not_shown(
    session: requests.Session,
) -> None:
    with BreakingServer(answer()) as server:
        for options in (
            {"headers": {"X-Auth-Token": "hush\r\nX-Evil: 1"}},
            {"json": {"hush": float("nan")}},
        ):
            with pytest.raises(NotSent, match="cannot be made") as caught:
                send(session, "POST", server.url, FAST, **options)
            assert caught.value.permanent
            assert "hush" not in str(caught.value)
        assert server.connections == 0


@pytest.mark.parametrize("url", ["http://a..b/v1", f"http://{'x' * 70}.example/v1", "http://%zz/v1"])
def test_invalid_host_name_is_not_sent(session: requests.Session, url: str) -> None:
    with pytest.raises(NotSent):
        send(session, "GET", url, FAST)


def test_error_is_independent_of_the_one_being_handled(session: requests.Session) -> None:
    with BreakingServer(reset()) as server, refusing() as nowhere:
        try:
            post(session, nowhere)
        except NotSent:
            # The first error is now in the context of the next one.
            with pytest.raises(OutcomeUnknown):
                post(session, server.url)
        else:
            pytest.fail("the connection was not refused")


def test_closed_connection_is_replaced(
    session: requests.Session,
) -> None:
    once = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", then=hang_up())
    with BreakingServer(once, answer(200, {"id": "2"})) as server:
        post(session, server.url)
        eventually(lambda: server.open_connections() == 0, "the server closes the connection")
        assert post(session, server.url).json() == {"id": "2"}
        assert server.connections == 2


# -- Retry-After -----------------------------------------------------------------------------------


def _http_date(seconds: float, form: str) -> str:
    return datetime.datetime.fromtimestamp(time.time() + seconds, datetime.timezone.utc).strftime(form)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        # An hour from now, in both forms of a date.
        ("%a, %d %b %Y %H:%M:%S GMT", 3500, 3601),
        ("%a %b %d %H:%M:%S %Y", 3500, 3601),
        (email.utils.formatdate(0, usegmt=True), 0, 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_in_seconds_and_as_a_date(
    session: requests.Session,
    status: int,
    header: str,
    least: float,
    most: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "%" in header:
        header = _http_date(3600, header)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        with (
            BreakingServer(answer(status, b"", {"Retry-After": header})) as server,
            pytest.raises((Answered, OutcomeUnknown)) as caught,
        ):
            post(session, server.url)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert isinstance(caught.value, Answered if status == 429 else OutcomeUnknown)
    assert caught.value.retry_after is not None
    assert least <= caught.value.retry_after <= most


@pytest.mark.parametrize("header", ["soon", "-5", "0.5", "nan", "inf", "1e999", "", "Mon, 99 Foo 2026"])
def test_invalid_retry_after_is_ignored(session: requests.Session, header: str) -> None:
    with (
        BreakingServer(answer(429, b"", {"Retry-After": header})) as server,
        pytest.raises(Answered) as caught,
    ):
        post(session, server.url)
    assert caught.value.retry_after is None


# -- shape of the response -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"id": ',
        b"\xff\xfe\x00",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b"[" * 100_000,
    ],
)
def test_2xx_without_an_object_is_unknown(session: requests.Session, body: bytes) -> None:
    with BreakingServer(answer(200, body)) as server:
        response = post(session, server.url)
        with pytest.raises(OutcomeUnknown, match=r"the response \(200\)"):
            json_body(response, "POST", "http://x", dict, ["id"])


@pytest.mark.parametrize(
    ("body", "expect"),
    [
        ({}, dict),
        ({"id": None}, dict),
        ({"id": 5}, dict),
        ({"id": ["x"]}, dict),
        ([{}], list),
        ([{"id": "1"}, "2"], list),
        ([{"id": "1"}, None], list),
        ({"id": "1"}, list),
        ([{"id": "1"}], dict),
    ],
)
def test_check_shape_rejects_another_shape(body: Any, expect: type) -> None:
    with pytest.raises(OutcomeUnknown):
        check_shape(body, "the answer", "GET", "http://x", expect, ["id"])


@pytest.mark.parametrize("body", [{"id": "1", "more": None}, [], [{"id": "1"}, {"id": "2"}]])
def test_check_shape_returns_the_body(body: Any) -> None:
    assert check_shape(body, "the answer", "GET", "http://x", type(body), ["id"]) is body


# -- nothing comes from the environment ------------------------------------------------------------


def test_cookies_are_not_kept(session: requests.Session) -> None:
    with BreakingServer(answer(200, {}, {"Set-Cookie": "auth-token=hush; Path=/"})) as server:
        post(session, server.url)
        post(session, server.url)
        assert "cookie" not in server.requests[1].headers
    assert not session.cookies


def test_proxies_of_the_environment_are_ignored(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        BreakingServer(answer(200, {"from": "proxy"})) as proxy,
        BreakingServer(answer(200, {})) as server,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        post(session, server.url)
        assert proxy.connections == 0
        assert len(server.requests) == 1


def test_netrc_is_ignored(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login u password hush\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with BreakingServer(answer(200, {})) as server:
        post(session, server.url)
        assert "authorization" not in server.requests[0].headers


def test_log_has_no_header_and_no_body(
    session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with BreakingServer(answer(200, {"x": "hush"}), answer(400, b"no"), reset()) as server:
        post(session, server.url, json={"p": "hush"})
        for error in (Answered, OutcomeUnknown):
            with pytest.raises(error):
                post(session, server.url, json={"p": "hush"})
    assert "/v1/executions" in caplog.text
    assert "hush" not in caplog.text


def test_invalid_url_is_a_remote_error() -> None:
    with contextlib.closing(new_session(Tls())) as session:
        for url in ("", "nonsense", "http://", "gopher://x", "http://[::1", "http://127.0.0.1:99999/"):
            with pytest.raises(RemoteError):
                send(session, "GET", url, FAST)


def test_threads_share_a_session(session: requests.Session) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with BreakingServer(answer(200, {})) as server, ThreadPoolExecutor(100) as pool:
        list(pool.map(lambda _: send(session, "GET", server.url, Timeouts()), range(200)))
        assert len(server.requests) == 200
    assert socket.getdefaulttimeout() is None
