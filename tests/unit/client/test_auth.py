from __future__ import annotations

import base64
import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    answer,
    hang_up,
    raw,
    refusing,
    reset,
    stall,
)
from support.waiting import TIMEOUT

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.api import Api
from st2actions_mistral.client.auth import Anonymous, HeaderSource, St2Credential
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import (
    Credential,
    CredentialNames,
    St2Settings,
    Timeouts,
    Tls,
)
from st2actions_mistral.errors import Answered, NotSent, RemoteError

FAST = Timeouts(connect_timeout=0.3, read_timeout=0.3, retry_deadline=1)
# The tests inject a sleep that returns at once, so that a long deadline allows many retries.
RETRYING = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=60)

NAMES = CredentialNames("[x] api_key", "[x] auth_token", "[x] username", "[x] password", "[x] auth_url")


@pytest.fixture(scope="module")
def st2() -> Iterator[StackStorm]:
    with StackStorm() as running:
        yield running


@contextlib.contextmanager
def api(
    url: str, given: Credential, timeouts: Timeouts = RETRYING
) -> Iterator[tuple[Api, St2Credential, list[float]]]:
    pauses: list[float] = []
    with contextlib.closing(new_session(Tls())) as session:
        settings = St2Settings(url, replace(given, names=NAMES), timeouts=timeouts)
        credential = St2Credential(settings, session)
        yield Api(url, session, credential, timeouts, sleep=pauses.append), credential, pauses


def password(auth_url: str, secret: str = "hush") -> Credential:
    return Credential(username="st2admin", password=secret, auth_url=auth_url)


def test_headers_of_each_credential() -> None:
    for given, expected in (
        (Credential(api_key="k"), {"St2-Api-Key": "k"}),
        (Credential(auth_token="t"), {"X-Auth-Token": "t"}),
        (Credential(), {}),
    ):
        with api("http://127.0.0.1:1/v1", given) as (_, credential, _pauses):
            assert credential.headers() == expected


def test_each_credential_authenticates(st2: StackStorm) -> None:
    for given in (
        Credential(api_key=st2.create_api_key()),
        Credential(auth_token=st2.create_token()),
        password(st2.auth_url, st2.password),
    ):
        with api(st2.api_url, given) as (client, *_):
            assert client.call("GET", "/executions", expect=list) is not None


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (Credential(api_key="hush"), "api_key"),
        (Credential(auth_token="hush"), "auth_token"),
        (Credential(), "api_key"),
    ],
)
def test_final_401_names_the_option_without_its_value(
    st2: StackStorm, given: Credential, option: str
) -> None:
    with (
        api(st2.api_url, given) as (client, _, pauses),
        pytest.raises(Answered, match=rf"\[x\] {option}") as caught,
    ):
        client.call("GET", "/executions", expect=list)
    assert caught.value.status == 401
    # The hint is a sentence of its own after StackStorm's message.
    assert re.match(r"Unauthorized[^.]*\. [A-Z]", caught.value.message)
    assert "hush" not in str(caught.value)
    assert pauses == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"faultstring": "Unauthorized"}, "401 Unauthorized. StackStorm rejects"),
        ({"faultstring": "Who are you?"}, "401 Who are you? StackStorm rejects"),
    ],
)
def test_hint_follows_the_message_as_a_new_sentence(body: dict[str, str], expected: str) -> None:
    with (
        BreakingServer(answer(401, body)) as server,
        api(server.url, Credential(auth_token="hush")) as (client, *_),
        pytest.raises(Answered) as caught,
    ):
        client.call("GET", "/executions", expect=list)
    assert expected in str(caught.value)


def test_hint_for_a_disabled_key(st2: StackStorm) -> None:
    made = requests.post(
        f"{st2.api_url}/apikeys",
        json={"enabled": False},
        headers={"St2-Api-Key": st2.create_api_key()},
        timeout=10,
    )
    with (
        api(st2.api_url, Credential(api_key=made.json()["key"])) as (client, *_),
        pytest.raises(
            Answered, match=r"disabled\. StackStorm .*, or enable it with 'st2 apikey enable'"
        ),
    ):
        client.call("GET", "/executions", expect=list)


def test_configured_token_is_not_renewed(st2: StackStorm) -> None:
    token = st2.create_token(ttl_seconds=0)
    with (
        api(st2.api_url, Credential(auth_token=token)) as (client, *_),
        pytest.raises(Answered, match="expired") as caught,
    ):
        client.call("GET", "/executions", expect=list)
    assert token not in str(caught.value)


def test_wrong_password_is_final_and_named_once(st2: StackStorm) -> None:
    with (
        api(st2.api_url, password(st2.auth_url, "hush")) as (client, _, pauses),
        pytest.raises(Answered, match=r"\[x\] username and \[x\] password") as caught,
    ):
        client.call("GET", "/executions", expect=list)
    assert caught.value.status == 401
    assert str(caught.value).count("[x] username") == 1
    assert "hush" not in str(caught.value)
    assert pauses == []


@pytest.mark.parametrize("status", [400, 401, 503])
def test_error_does_not_show_a_password_that_the_response_repeats(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        BreakingServer(answer(status, {"faultstring": "st2admin:hush is not taken"})) as server,
        api(server.url, password(server.url), FAST) as (client, *_),
        pytest.raises(RemoteError, match="is not taken") as caught,
    ):
        client.once("GET", "/executions", expect=list)
    assert "hush" not in f"{caught.value}{caught.value.log_text()}{caplog.text}"


def test_login_serves_many_requests() -> None:
    with BreakingServer(answer(201, {"token": "one"}), answer(200, [])) as server:
        with api(server.url, password(server.url, "pä:ß")) as (client, *_):
            for _ in range(3):
                client.once("GET", "/executions", expect=list)
        assert server.calls() == ["POST /tokens"] + ["GET /executions"] * 3
        basic = base64.b64encode("st2admin:pä:ß".encode()).decode()
        assert server.requests[0].headers["authorization"] == f"Basic {basic}"
        assert all("authorization" not in request.headers for request in server.requests[1:])
        assert {request.headers.get("x-auth-token") for request in server.requests[1:]} == {"one"}


class TokenServer(BreakingServer):
    """Issue the tokens t1, t2, … and accept only the newest one."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.issued = 0
        self.before_login: Callable[[], object] = lambda: None
        """Called before a token is issued."""
        self.before_rejection: Callable[[], object] = lambda: None
        """Called before a token is rejected."""
        self._counting = threading.Lock()

    def _reply(self, exchange: Any) -> bool:
        request = exchange.request
        if request.path == "/tokens":
            self.before_login()
            with self._counting:
                self.issued += 1
            return answer(201, {"token": f"t{self.issued}"})(exchange)
        if request.headers.get("x-auth-token") != f"t{self.issued}":
            self.before_rejection()
            return answer(401, {"faultstring": "Unauthorized"})(exchange)
        return answer(200, [])(exchange)

    def forget(self) -> None:
        """Reject the current token, as StackStorm does when it has expired."""
        self.issued += 1


def test_rejected_token_is_renewed_once_and_the_request_repeated() -> None:
    with TokenServer() as server, api(server.url, password(server.url)) as (client, *_):
        client.once("GET", "/executions", expect=list)
        server.forget()
        client.once("GET", "/executions", expect=list)
        assert server.calls() == [
            "POST /tokens",
            "GET /executions",
            "GET /executions",
            "POST /tokens",
            "GET /executions",
        ]


class CountingCredential:
    """Counts the calls that ask for headers, also those that still wait for a token."""

    def __init__(self, credential: HeaderSource) -> None:
        self._credential = credential
        self._changed = threading.Condition()
        self._calls = 0

    def wait_for(self, calls: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._calls >= calls, TIMEOUT)

    def headers(self) -> dict[str, str]:
        with self._changed:
            self._calls += 1
            self._changed.notify_all()
        return self._credential.headers()

    def renew(self, rejected: dict[str, str]) -> bool:
        return self._credential.renew(rejected)

    def hint(self) -> str:
        return self._credential.hint()


def test_threads_with_a_rejected_token_renew_it_once() -> None:
    threads, timeouts = 24, Timeouts(TIMEOUT, TIMEOUT, 10)
    with (
        TokenServer() as server,
        contextlib.closing(new_session(Tls())) as session,
        ThreadPoolExecutor(threads) as pool,
    ):
        settings = St2Settings(server.url, password(server.url), timeouts=timeouts)
        credential = CountingCredential(St2Credential(settings, session))
        client = Api(server.url, session, credential, timeouts)

        def ask(_: int) -> Any:
            return client.once("GET", "/executions", expect=list)

        # All of them ask before there is a token.
        server.before_login = lambda: credential.wait_for(threads)
        assert list(pool.map(ask, range(threads))) == [[]] * threads
        assert server.issued == 1
        server.forget()
        # All of them have used the old token before one is rejected, and ask before there is a new one.
        server.before_rejection = threading.Barrier(threads, timeout=TIMEOUT).wait
        server.before_login = lambda: credential.wait_for(3 * threads)
        assert list(pool.map(ask, range(threads))) == [[]] * threads
        assert server.calls().count("POST /tokens") == 2


def test_late_rejection_of_an_old_token_keeps_the_new_one() -> None:
    with TokenServer() as server, api(server.url, password(server.url)) as (_, credential, _pauses):
        old = credential.headers()
        assert credential.renew(old)
        new = credential.headers()
        assert new != old
        assert credential.renew(old)
        assert credential.headers() == new
        assert server.calls() == ["POST /tokens"] * 2


def test_second_401_is_final() -> None:
    unauthorized = answer(401, {"faultstring": "Unauthorized"})
    script = [answer(201, {"token": "t"}), unauthorized, answer(201, {"token": "u"}), unauthorized]
    with BreakingServer(*script) as server, api(server.url, password(server.url)) as (client, *_):
        with pytest.raises(Answered, match="token made with") as caught:
            client.call("GET", "/executions", expect=list)
        assert caught.value.status == 401
        assert len(server.requests) == 4


def test_changed_password_is_named_once() -> None:
    unauthorized = answer(401, {"faultstring": "Unauthorized"})
    script = [answer(201, {"token": "t"}), unauthorized]
    with BreakingServer(*script) as server, api(server.url, password(server.url)) as (client, *_):
        with pytest.raises(Answered) as caught:
            client.call("GET", "/executions", expect=list)
        assert str(caught.value).count("[x] username") == 1
        assert server.calls() == ["POST /tokens", "GET /executions", "POST /tokens"]


@pytest.mark.parametrize(
    "behaviour",
    [
        reset(),
        hang_up(),
        stall(),
        answer(500),
        answer(503),
        answer(200, b"<html>"),
        answer(200, []),
        answer(200, {}),
        answer(200, {"token": None}),
        answer(200, {"token": ""}),
        answer(200, {"token": "a\r\nX-Evil: 1"}),
        answer(200, {"token": "a☃"}),
    ],
)
def test_failed_login_is_not_sent(behaviour: Behaviour) -> None:
    with BreakingServer(answer(200, {})) as st2, BreakingServer(behaviour) as auth:
        with api(st2.url, password(auth.url), FAST) as (client, *_), pytest.raises(NotSent) as caught:
            client.once("POST", "/executions", json={})
        assert f"POST {auth.url}/tokens" in str(caught.value)
        assert "hush" not in str(caught.value)
        assert st2.connections == 0


def test_login_is_retried() -> None:
    script = [reset(), answer(503, b"", {"Retry-After": "19"}), answer(201, {"token": "t"})]
    with BreakingServer(*script, answer(200, [])) as server:
        with api(server.url, password(server.url)) as (client, _, pauses):
            client.call("GET", "/executions", expect=list)
        assert server.calls() == ["POST /tokens"] * 3 + ["GET /executions"]
    assert pauses[1] == 19


def test_refused_login_is_not_sent() -> None:
    with (
        refusing() as nowhere,
        BreakingServer(answer(200, [])) as st2,
        api(st2.url, password(nowhere)) as (client, *_),
        pytest.raises(NotSent),
    ):
        client.once("GET", "/executions", expect=list)


def test_hanging_login_does_not_queue_up_the_others() -> None:
    timeouts = Timeouts(connect_timeout=0.2, read_timeout=0.2, retry_deadline=0)
    with (
        BreakingServer(stall()) as server,
        api(server.url, password(server.url), timeouts) as (
            client,
            *_,
        ),
    ):

        def ask(_: int) -> None:
            with pytest.raises(NotSent):
                client.once("GET", "/executions", expect=list)

        started = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(16)))
        # One after the other would take 16 timeouts, 3.2 s.
        assert time.monotonic() - started < 1.5


def test_repr_and_log_show_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = answer(201, {"token": "hush-token"})
    script = [token, answer(401), token, reset(), answer(200, [])]
    with (
        BreakingServer(*script) as server,
        api(server.url, password(server.url)) as (client, credential, _),
    ):
        client.call("GET", "/executions", expect=list)
        shown = f"{client!r}{credential!r}{vars(client)}"
    assert "/tokens" in caplog.text
    assert "hush" not in caplog.text + shown


def test_anonymous_has_no_headers() -> None:
    anonymous = Anonymous("Say who you are.")
    assert (anonymous.headers(), anonymous.renew({}), anonymous.hint()) == (
        {},
        False,
        "Say who you are.",
    )


def test_truncated_401_does_not_renew_the_token() -> None:
    truncated = raw(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 50\r\n\r\n{", then=hang_up())
    script = [answer(201, {"token": "t"}), truncated, answer(200, [])]
    with BreakingServer(*script) as server, api(server.url, password(server.url)) as (client, *_):
        client.call("GET", "/executions", expect=list)
        assert server.calls().count("POST /tokens") == 1
