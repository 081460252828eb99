"""The answer to the question whose credential it is, from a stand-in and from broken servers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    answer,
    break_in_body,
    endless_line,
    garbage,
    hang_up,
    redirect,
    refusing,
    reset,
    stall,
    stall_in_body,
)

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.auth.headers import KEY, TOKEN, Credential
from st2actions_mistral.auth.users import User, Users
from st2actions_mistral.config.auth import AuthSettings
from st2actions_mistral.errors import NotSent, RemoteError

SECRET = Credential(TOKEN, "canary-secret")
BODY: dict[str, Any] = {
    "username": "ada",
    "authentication": {
        "method": "authentication token",
        "location": "header",
        "token_expire": "2026-11-24T04:34:06Z",
    },
    "rbac": {"enabled": True, "roles": ["observer"], "is_admin": False},
}


@pytest.fixture(scope="module")
def stackstorm() -> Iterator[StackStorm]:
    with StackStorm() as running:
        yield running


def users(url: str, timeout: float = 5) -> Users:
    return Users(AuthSettings(url, timeout=timeout))


def without(*path: str) -> dict[str, Any]:
    """Return the body without one key."""
    body = {key: dict(value) if isinstance(value, dict) else value for key, value in BODY.items()}
    inner: Any = body
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return body


def changed(**given: Any) -> dict[str, Any]:
    return {**BODY, **given}


def test_stackstorm_names_the_user_of_a_token_and_its_end(stackstorm: StackStorm) -> None:
    token = stackstorm.create_token(60, user="ada")
    user = users(stackstorm.api_url)(Credential(TOKEN, token))
    assert user is not None
    assert (user.name, user.roles) == ("ada", frozenset())
    assert user.expires_at is not None
    left = user.expires_at - datetime.now(timezone.utc)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)


def test_stackstorm_names_the_user_of_an_api_key(stackstorm: StackStorm) -> None:
    key = stackstorm.create_api_key(user="bob")
    assert users(stackstorm.api_url)(Credential(KEY, key)) == User("bob", frozenset())


@pytest.mark.parametrize("header", [TOKEN, KEY])
def test_unknown_credential_is_rejected(stackstorm: StackStorm, header: str) -> None:
    assert users(stackstorm.api_url)(Credential(header, "unknown")) is None


def test_expired_and_revoked_tokens_and_crossed_headers_are_rejected(stackstorm: StackStorm) -> None:
    ask = users(stackstorm.api_url)
    assert ask(Credential(TOKEN, stackstorm.create_token(-1))) is None
    token = stackstorm.create_token()
    assert ask(Credential(KEY, token)) is None
    assert ask(Credential(TOKEN, stackstorm.create_api_key())) is None
    stackstorm.revoke_token(token)
    assert ask(Credential(TOKEN, token)) is None


def test_roles_are_those_of_rbac() -> None:
    with StackStorm() as stackstorm:
        stackstorm.set_roles("ada", ["system_admin", "observer"])
        ask = users(stackstorm.api_url)
        found = ask(Credential(KEY, stackstorm.create_api_key(user="ada")))
        assert found == User("ada", frozenset({"system_admin", "observer"}))
        assert ask(Credential(KEY, stackstorm.create_api_key(user="bob"))) == User("bob", frozenset())


def test_everybody_is_no_administrator_without_rbac() -> None:
    for rbac in (
        {"enabled": False, "roles": ["system_admin"], "is_admin": True},
        {"enabled": "yes", "roles": ["system_admin"], "is_admin": True},
    ):
        assert User.parse(changed(rbac=rbac), SECRET).roles == frozenset()


def test_stackstorm_without_authentication_authenticates_nobody() -> None:
    with StackStorm(auth=False) as stackstorm, pytest.raises(RemoteError) as caught:
        users(stackstorm.api_url)(SECRET)
    assert caught.value.status == 500


@pytest.mark.parametrize(
    "body",
    [
        [],
        "ada",
        {},
        {"valid": True},
        without("username"),
        changed(username=""),
        changed(username="a" * 256),
        changed(username="a\nb"),
        changed(username=["ada"]),
        changed(username=None),
        without("rbac"),
        changed(rbac={}),
        changed(rbac={"enabled": True, "roles": None}),
        changed(rbac=["admin"]),
        without("authentication"),
        without("authentication", "method"),
        without("authentication", "token_expire"),
        changed(authentication={"method": "API key", "location": "header"}),
        changed(authentication={**BODY["authentication"], "location": "cookie"}),
        changed(authentication={**BODY["authentication"], "token_expire": "soon"}),
        changed(authentication={**BODY["authentication"], "token_expire": 5}),
    ],
)
def test_answer_that_does_not_show_the_user_is_no_answer(body: Any) -> None:
    with BreakingServer(answer(200, body)) as server, pytest.raises(RemoteError) as caught:
        users(server.url)(SECRET)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "status", [201, 204, 301, 302, 307, 400, 402, 403, 404, 407, 429, 500, 502, 503]
)
def test_other_statuses_tell_nothing_about_the_credential(status: int) -> None:
    behaviour = redirect("http://127.0.0.1:1/", status) if 300 <= status < 400 else answer(status, b"")
    with BreakingServer(behaviour) as server, pytest.raises(RemoteError):
        users(server.url)(SECRET)


@pytest.mark.parametrize("behaviour", [answer(500), answer(429), stall()])
def test_busy_server_is_asked_once(behaviour: Behaviour) -> None:
    with BreakingServer(behaviour) as server:
        with pytest.raises(RemoteError):
            users(server.url, timeout=0.2)(SECRET)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(200, b"<html>"),
        answer(200, b"[" * 100_000),
        answer(200, b" " * 70_000),
        answer(200, BODY, {"Content-Encoding": "gzip"}),
        break_in_body(),
        endless_line(),
        endless_line(b'HTTP/1.1 200 OK\r\n\r\n{"a": "'),
        garbage(),
        hang_up(),
        reset(),
        stall(),
        stall_in_body(),
    ],
)
def test_broken_server_accepts_nobody(behaviour: Behaviour) -> None:
    with BreakingServer(behaviour) as server, pytest.raises(RemoteError) as caught:
        users(server.url, timeout=0.5)(SECRET)
    assert "canary" not in str(caught.value)


def test_server_that_repeats_the_credential_does_not_get_it_into_the_error() -> None:
    for status in (200, 302, 404, 500):
        echo = answer(status, {"faultstring": SECRET.secret}, {"Location": f"http://{SECRET.secret}/"})
        with BreakingServer(echo) as server, pytest.raises(RemoteError) as caught:
            users(server.url)(SECRET)
        assert "canary" not in str(caught.value)


def test_missing_server_is_told_from_a_rejection() -> None:
    with refusing() as url, pytest.raises(NotSent):
        users(url)(SECRET)


def test_kept_connection_that_was_closed_is_opened_again() -> None:
    with BreakingServer(answer(200, BODY), hang_up(), answer(200, BODY)) as server:
        ask = users(server.url)
        first = ask(SECRET)
        assert first is not None
        assert ask(SECRET) == first
    assert len(server.requests) == 3


def test_credential_is_sent_in_its_own_header_and_nothing_else_is_sent() -> None:
    with BreakingServer(answer(200, BODY)) as server:
        users(f"{server.url}/api/v1")(SECRET)
    (sent,) = server.requests
    assert server.calls() == ["GET /api/v1/user"]
    assert sent.headers["x-auth-token"] == "canary-secret"
    assert not {"st2-api-key", "authorization", "cookie"} & {*sent.headers}
    with contextlib.suppress(ValueError):
        assert not sent.body
