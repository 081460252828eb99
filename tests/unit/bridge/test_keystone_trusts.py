"""Trusts with a keystone that fails or refuses. Those with a real keystone are in tests/cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from keystoneauth1.identity import v3
from mistral_lib.actions.context import SecurityContext
from support.breaking_servers import BreakingServer, answer, hang_up, refusing
from support.clock import Clock

from st2actions_mistral.bridge.keystone_trusts import RelayTrusts
from st2actions_mistral.client.auth import KeystoneCredential
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.config.trusts import TrustSettings
from st2actions_mistral.errors import NotSent

TIMEOUTS: Final = Timeouts(5, 30, 5)
HOLDER: Final = {"user": {"id": "u"}, "project": {"id": "p"}, "roles": [{"id": "r"}]}
MADE: Final = {
    "id": "made",
    "trustee_user_id": "relay",
    "project_id": "p",
    "impersonation": True,
    "roles": [{"id": "r"}],
    "expires_at": None,
}

MakeTrusts = Callable[..., RelayTrusts]


@pytest.fixture
def make_trusts() -> Iterator[MakeTrusts]:
    """Return a function that makes the trusts of one process."""
    made = []

    def make(
        url: str,
        *,
        trustee_id: str | None = "relay",
        timeouts: Timeouts = TIMEOUTS,
        credential: Callable[[], KeystoneCredential | None] = lambda: None,
        **given: Any,
    ) -> RelayTrusts:
        settings = TrustSettings(url, trustee_id, 1000.0, Tls(), timeouts, credential)
        made.append(RelayTrusts(settings, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


def security(token: str = "hush-token") -> SecurityContext:
    return SecurityContext(auth_token=token, project_id="p", service_catalog=HOLDER)


def test_expired_token_does_not_keep_another_token_from_making_a_trust(make_trusts: MakeTrusts) -> None:
    works = answer(200, {"trusts": []}), answer(201, {"trust": MADE})
    with BreakingServer(answer(401), *works) as server:
        trusts = make_trusts(server.url)
        assert trusts.trust_for(security("hush-expired")) is None
        assert trusts.trust_for(security()) == "made"


def test_expired_token_does_not_make_a_known_trust_be_forgotten(make_trusts: MakeTrusts) -> None:
    clock = Clock()
    works = answer(200, {"trusts": []}), answer(201, {"trust": MADE})
    with BreakingServer(*works, answer(401), answer(200, {"trust": MADE})) as server:
        trusts = make_trusts(server.url, clock=clock)
        assert trusts.trust_for(security()) == "made"
        clock.advance(61)
        assert trusts.trust_for(security("hush-expired")) == "made"
        assert trusts.trust_for(security()) == "made"
        assert trusts.trust_for(security("hush-expired")) == "made"
        assert server.calls()[2:] == ["GET /OS-TRUST/trusts/made"] * 2


def test_rejected_credential_of_the_relay_is_an_error(make_trusts: MakeTrusts) -> None:
    with BreakingServer(answer(401, {"error": {"message": "wrong", "code": 401}})) as server:
        plugin = v3.Password(f"{server.url}/v3", "hush-password", username="relay")
        credential = KeystoneCredential(plugin, Tls(), Timeouts(), "See [st2_relay].")
        trusts = make_trusts(server.url, trustee_id=None, credential=lambda: credential)
        with pytest.raises(NotSent) as caught:
            trusts.trust_for(security())
    text = str(caught.value)
    assert caught.value.permanent
    assert "keystone rejects the relay's credential" in text
    assert "See [st2_relay]." in text
    assert "hush" not in text


def test_token_for_another_cloud_is_not_sent(make_trusts: MakeTrusts) -> None:
    with BreakingServer(answer(500)) as server:
        security = SecurityContext(auth_token="hush", project_id="p", is_target=True)
        assert make_trusts(server.url).trust_for(security) is None
        assert server.requests == []


def test_unreachable_keystone_is_an_error_that_says_what_to_do(make_trusts: MakeTrusts) -> None:
    security = SecurityContext(auth_token="hush-token", project_id="p")
    with refusing() as url, pytest.raises(NotSent) as caught:
        make_trusts(url, timeouts=Timeouts(1, 1, 0)).trust_for(security)
    text = str(caught.value)
    assert "no connection" in text
    assert text.endswith(
        "[st2_relay] project_auth is trust, so the action needs keystone first. Nothing was sent to"
        " StackStorm."
    )
    assert "hush" not in text


@pytest.mark.parametrize(
    "fault",
    [
        answer(500, {"error": {"message": "broken"}}),
        answer(503),
        answer(429),
        hang_up(),
        answer(200, []),
        answer(200, {"token": []}),
        answer(200, {"token": {"user": {}}}),
        answer(200, {"token": {"user": {"id": "x" * 65}, "project": None}}),
        answer(200, {"token": {"user": {"id": "é"}}}),
        answer(200, {"token": {"user": {"id": "u"}, "project": 5}}),
        answer(200, {"token": {"user": {"id": "u"}, "roles": [5]}}),
        answer(200, b"{"),
    ],
)
def test_failing_keystone_is_asked_again_until_it_works(make_trusts: MakeTrusts, fault: Any) -> None:
    pauses: list[float] = []
    security = SecurityContext(auth_token="hush-token", project_id="p")
    works = (answer(200, {"token": HOLDER}), answer(200, {"trusts": []}), answer(201, {"trust": MADE}))
    with BreakingServer(fault, fault, *works) as server:
        assert make_trusts(server.url, sleep=pauses.append).trust_for(security) == "made"
    assert len(pauses) == 2


@pytest.mark.parametrize("fault", [answer(500), answer(429), hang_up(), answer(200, {"trusts": [{}]})])
def test_error_of_keystone_is_never_an_unknown_outcome(make_trusts: MakeTrusts, fault: Any) -> None:
    """An unknown outcome would make the action wait for an execution that was never created."""
    security = SecurityContext(auth_token="hush-token", project_id="p")
    with (
        BreakingServer(answer(200, {"token": HOLDER}), fault) as server,
        pytest.raises(NotSent) as caught,
    ):
        make_trusts(server.url, timeouts=Timeouts(5, 5, 0)).trust_for(security)
    assert "Nothing was sent to StackStorm" in str(caught.value)
    assert "hush" not in f"{caught.value!r}{caught.value.__cause__!r}"
