"""Responses that keystone itself does not send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
from support.breaking_servers import Behaviour, BreakingServer, answer, redirect

from st2actions_mistral.client.keystone import KeystoneClient, Token
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.errors import Answered, OutcomeUnknown

TOKEN = "hush-token"
TRUST: dict[str, Any] = {
    "id": "t",
    "trustee_user_id": "relay",
    "project_id": "p",
    "impersonation": True,
    "expires_at": "2027-01-02T03:04:05.000000Z",
    "remaining_uses": None,
}


@contextmanager
def keystone(*behaviours: Behaviour) -> Iterator[tuple[KeystoneClient, BreakingServer]]:
    with BreakingServer(*behaviours) as server:
        client = KeystoneClient(server.url, new_session(Tls()), Timeouts(5, 5, 0))
        yield client, server
        client.close()


def test_trust_has_what_keystone_shows() -> None:
    limited = {**TRUST, "remaining_uses": 1, "expires_at": None, "roles": [{"id": "r", "name": "n"}]}
    with keystone(answer(200, {"trusts": [TRUST, limited]})) as (client, server):
        first, second = client.trusts_of(TOKEN, "u&x")
    assert server.requests[0].path == "/OS-TRUST/trusts?trustor_user_id=u%26x"
    assert first.expires_at == datetime(2027, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert (first.is_limited, first.roles, first.impersonates) == (False, frozenset(), True)
    assert (second.is_limited, second.roles, second.expires_at) == (True, {"r"}, None)


def test_created_trust_is_for_project_and_roles_of_the_holder() -> None:
    holder = Token("u", "p", frozenset({"r2", "r1"}))
    expires_at = datetime(2027, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    with keystone(answer(201, {"trust": TRUST})) as (client, server):
        assert client.create_trust(TOKEN, holder, "relay", expires_at).id == "t"
    assert server.requests[0].json() == {
        "trust": {
            "trustor_user_id": "u",
            "trustee_user_id": "relay",
            "project_id": "p",
            "impersonation": True,
            "roles": [{"id": "r1"}, {"id": "r2"}],
            "expires_at": "2027-01-02T03:04:05.000000Z",
        }
    }


def test_unknown_trust_is_none() -> None:
    with keystone(answer(404), answer(403)) as (client, server):
        assert client.trust(TOKEN, "../x") is None
        assert server.requests[0].path == "/OS-TRUST/trusts/..%2Fx"
        with pytest.raises(Answered):
            client.trust(TOKEN, "x")


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"id": ""},
        {"id": "x" * 65},
        {"id": "é"},
        {"id": "a\nb"},
        {"trustee_user_id": None},
        {"expires_at": 5},
        {"expires_at": "tomorrow"},
        {"roles": 5},
        {"roles": [{}]},
    ],
)
def test_malformed_trust_is_an_unknown_outcome(change: dict[str, Any]) -> None:
    with (
        keystone(answer(200, {"trust": {**TRUST, **change}})) as (client, _),
        pytest.raises(OutcomeUnknown, match="the response cannot be read"),
    ):
        client.trust(TOKEN, "t")


@pytest.mark.parametrize("body", [{}, {"trusts": None}, {"trusts": {}}, {"trusts": [5]}])
def test_malformed_listing_is_an_unknown_outcome(body: Any) -> None:
    with keystone(answer(200, body)) as (client, _), pytest.raises(OutcomeUnknown):
        client.trusts_of(TOKEN, "u")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"code": 403, "message": f"Not \n with {TOKEN}."}}, "403 Not with …."),
        ({"error": "text"}, '403 {"error": "text"}'),
        (b"", "403"),
    ],
)
def test_error_has_keystones_words_and_no_token(body: Any, expected: str) -> None:
    with keystone(answer(403, body)) as (client, server), pytest.raises(Answered) as caught:
        client.token(TOKEN)
    assert str(caught.value).startswith(f"GET {server.url}/auth/tokens: {expected}")
    assert TOKEN not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_redirects_are_not_followed() -> None:
    with keystone(answer(200)) as (_, other), keystone(redirect(other.url)) as (client, _):
        with pytest.raises(Answered, match="Redirects are not followed"):
            client.token(TOKEN)
        assert other.requests == []
