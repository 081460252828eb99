"""Trusts from the users of workflows to the relay's user, in a real keystone."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import pytest
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from mistral_lib.actions.context import SecurityContext
from support.breaking_servers import BreakingServer, forward, hang_up
from support.clock import Clock
from support.keystone.api import Keystone, password_of

from st2actions_mistral.bridge.keystone_trusts import RelayTrusts
from st2actions_mistral.client.auth import KeystoneCredential
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.config.trusts import TrustSettings

DAY: Final = 24 * 3600.0
LIFETIME: Final = 90 * DAY
NUMBERS: Final = itertools.count(1)
LOGGER: Final = "st2actions_mistral.bridge.keystone_trusts"


class Tenant:
    """A new user with a role on project ``a``."""

    def __init__(self, keystone: Keystone) -> None:
        self.keystone = keystone
        self.name = f"tenant-{next(NUMBERS)}"
        keystone.create_user(self.name)
        keystone.grant("member", self.name, "a")

    def security(self, token: str | None = None, project: str | None = "a") -> SecurityContext:
        """Return what Mistral passes to an action after a request with a token."""
        token = token or self.keystone.token(self.name, project)
        return SecurityContext(
            auth_token=token,
            project_id=self.keystone.project(project) if project else None,
            service_catalog=self._described(token),
        )

    def _described(self, token: str) -> Any:
        """Return what Mistral's middleware gets."""
        url = f"{self.keystone.url}/auth/tokens"
        session = self.keystone.session("mistral", "service")
        return session.get(url, headers={"X-Subject-Token": token}).json()["token"]

    def trust(self, trustee: str = "relay", **given: Any) -> str:
        return self.keystone.create_trust(self.name, "a", trustee, "member", **given)

    def trusts(self) -> list[str]:
        return [row["id"] for row in self.keystone.trusts(self.name)]


@pytest.fixture
def tenant(keystone: Keystone) -> Tenant:
    return Tenant(keystone)


MakeTrusts = Callable[..., RelayTrusts]


@pytest.fixture
def make_trusts(keystone: Keystone) -> Iterator[MakeTrusts]:
    """Return a function that makes the trusts of one process."""
    made = []

    def make(
        url: str = keystone.url, trustee_id: str | None = keystone.user("relay"), **given: Any
    ) -> RelayTrusts:
        settings = {"lifetime": LIFETIME, "tls": Tls(), "timeouts": Timeouts(5, 30, 5)}
        for name in ("credential", "lifetime", "timeouts"):
            if name in given:
                settings[name] = given.pop(name)
        one = RelayTrusts(TrustSettings(url, trustee_id, **settings), **given)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def later(seconds: float) -> Callable[[], datetime]:
    return lambda: datetime.now(timezone.utc) + timedelta(seconds=seconds)


# -- the trust -----------------------------------------------------------------------------------


def test_trust_is_for_the_project_and_the_roles_of_the_token(
    keystone: Keystone, tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    made = make_trusts().trust_for(tenant.security())
    assert made is not None
    trust = keystone.trust(made)
    assert trust is not None
    assert trust["trustor_user_id"] == keystone.user(tenant.name)
    assert trust["trustee_user_id"] == keystone.user("relay")
    assert trust["project_id"] == keystone.project("a")
    assert trust["impersonation"] is True
    assert {"member"} <= {role["name"] for role in trust["roles"]} <= {"member", "reader"}
    expires = datetime.strptime(trust["expires_at"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs((expires - later(LIFETIME)()).total_seconds()) < 600
    relay = keystone.trust_session("relay", made)
    assert relay.get_user_id() == keystone.user(tenant.name)
    assert relay.get_project_id() == keystone.project("a")


def test_actions_of_one_user_share_one_trust(tenant: Tenant, make_trusts: MakeTrusts) -> None:
    trusts = make_trusts()
    securities = [tenant.security() for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        found = set(pool.map(trusts.trust_for, securities))
    assert [*found] == tenant.trusts()


def test_another_process_uses_the_same_trust(tenant: Tenant, make_trusts: MakeTrusts) -> None:
    first = make_trusts().trust_for(tenant.security())
    assert make_trusts().trust_for(tenant.security()) == first
    assert tenant.trusts() == [first]


def test_trust_is_replaced_when_half_of_its_time_is_over(
    tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    first = make_trusts().trust_for(tenant.security())
    before = make_trusts(now=later(LIFETIME / 2 - DAY))
    assert before.trust_for(tenant.security()) == first
    after = make_trusts(now=later(LIFETIME / 2 + DAY))
    second = after.trust_for(tenant.security())
    assert second != first
    assert sorted(tenant.trusts()) == sorted([first, second])


def test_trust_in_memory_is_replaced_when_half_of_its_time_is_over(
    tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    clock, moment = Clock(), [0.0]
    trusts = make_trusts(clock=clock, now=lambda: later(moment[0])())
    first = trusts.trust_for(tenant.security())
    clock.advance(61)
    assert trusts.trust_for(tenant.security()) == first
    moment[0] = LIFETIME / 2 + DAY
    clock.advance(61)
    assert trusts.trust_for(tenant.security()) != first


def test_trusts_of_other_kinds_are_not_used(
    keystone: Keystone, tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    soon = datetime.now(timezone.utc) + timedelta(seconds=LIFETIME / 2 - DAY)
    others = [
        tenant.trust("mistral", expires_at=None),
        tenant.trust(impersonation=False),
        tenant.trust(expires_at=soon),
    ]
    keystone.grant("st2-relay", tenant.name, "a")
    keystone.grant("member", tenant.name, "b")
    others.append(keystone.create_trust(tenant.name, "a", "relay", "st2-relay"))
    others.append(keystone.create_trust(tenant.name, "b", "relay", "member"))
    assert make_trusts().trust_for(tenant.security()) not in others


def test_new_roles_of_the_user_need_another_trust(
    keystone: Keystone, tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    trusts = make_trusts()
    before = trusts.trust_for(tenant.security())
    keystone.grant("st2-relay", tenant.name, "a")
    after = trusts.trust_for(tenant.security())
    assert after is not None
    assert after != before
    found = keystone.trust(after)
    assert found is not None
    assert "st2-relay" in {role["name"] for role in found["roles"]}


def test_deleted_trust_is_replaced_after_a_minute(
    keystone: Keystone, tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    clock = Clock()
    trusts = make_trusts(clock=clock)
    first = trusts.trust_for(tenant.security())
    assert first is not None
    keystone.delete_trust(first)
    clock.advance(59)
    assert trusts.trust_for(tenant.security()) == first
    clock.advance(2)
    second = trusts.trust_for(tenant.security())
    assert second != first
    assert tenant.trusts() == [second]


def test_trustee_is_the_user_of_the_relays_credential(
    keystone: Keystone, tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    logins = []

    def credential() -> KeystoneCredential:
        logins.append(1)
        plugin = v3.Password(
            auth_url=keystone.url,
            username="relay",
            password=password_of("relay"),
            user_domain_id="default",
            project_name="service",
            project_domain_id="default",
        )
        return KeystoneCredential(plugin, Tls(), Timeouts(), "")

    trusts = make_trusts(trustee_id=None, credential=credential)
    first = trusts.trust_for(tenant.security())
    assert first is not None
    found = keystone.trust(first)
    assert found is not None
    assert found["trustee_user_id"] == keystone.user("relay")
    assert trusts.trust_for(tenant.security()) == first
    assert len(logins) == 1


# -- tokens that cannot make one -----------------------------------------------------------------


def test_token_of_the_relays_trust_passes_the_trust_on(
    keystone: Keystone, tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    """The relay has completed an action, and the next action of the workflow has its token."""
    first = make_trusts().trust_for(tenant.security())
    assert first is not None
    token = str(keystone.trust_session("relay", first).get_token())
    assert make_trusts().trust_for(tenant.security(token)) == first
    assert tenant.trusts() == [first]


def test_mistral_that_does_not_describe_the_token(tenant: Tenant, make_trusts: MakeTrusts) -> None:
    security = tenant.security()
    for security.service_catalog in (None, "***", {}, {"user": 5}):
        made = make_trusts().trust_for(security)
        assert [made] == tenant.trusts()


def test_trust_in_memory_needs_neither_keystone_nor_a_valid_token(
    keystone: Keystone, tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    with BreakingServer(forward(keystone.url.removesuffix("/v3"))) as server:
        trusts = make_trusts(f"{server.url}/v3")
        first = trusts.trust_for(tenant.security())
        asked = len(server.requests)
        assert trusts.trust_for(_revoked(keystone, tenant)) == first
        assert len(server.requests) == asked


def _restricted(keystone: Keystone, tenant: Tenant, *, unrestricted: bool = False) -> SecurityContext:
    id_, secret = keystone.create_application_credential(tenant.name, "a", unrestricted=unrestricted)
    plugin = v3.ApplicationCredential(keystone.url, secret, id_)
    return tenant.security(str(Session(auth=plugin).get_token()))


def _unrestricted(keystone: Keystone, tenant: Tenant) -> SecurityContext:
    return _restricted(keystone, tenant, unrestricted=True)


def _of_a_cron_trigger(keystone: Keystone, tenant: Tenant) -> SecurityContext:
    trust = tenant.trust("mistral")
    # As Mistral makes it in services.security.create_context.
    return SecurityContext(
        auth_token=str(keystone.trust_session("mistral", trust).get_token()),
        project_id=keystone.project("a"),
        is_trust_scoped=True,
        trust_id=trust,
    )


def _of_another_trust(keystone: Keystone, tenant: Tenant) -> SecurityContext:
    session = keystone.trust_session("mistral", tenant.trust("mistral"))
    return tenant.security(str(session.get_token()))


def _unscoped(keystone: Keystone, tenant: Tenant) -> SecurityContext:
    return tenant.security(project=None)


def _revoked(keystone: Keystone, tenant: Tenant) -> SecurityContext:
    security = tenant.security()
    keystone.session(tenant.name, "a").delete(
        f"{keystone.url}/auth/tokens", headers={"X-Subject-Token": str(security.auth_token)}
    )
    return security


def _of_nobody(keystone: Keystone, tenant: Tenant) -> SecurityContext:
    # The engine's own jobs have no token.
    return SecurityContext(project_id=keystone.project("a"))


def _of_another_project(keystone: Keystone, tenant: Tenant) -> SecurityContext:
    security = tenant.security()
    security.project_id = keystone.project("b")
    return security


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_restricted, "the token was made with an application credential"),
        (_unrestricted, "the token was made with an application credential"),
        (_of_a_cron_trigger, "the token was made with a trust, as for a cron trigger"),
        (_of_another_trust, "the token was made with a trust, as for a cron trigger"),
        (_unscoped, "the token has no project"),
        (_revoked, "the token has expired or was revoked"),
        (_of_nobody, "Mistral has no token of the user any more"),
        (_of_another_project, "the token is for another project"),
    ],
)
def test_token_that_cannot_make_a_trust_is_logged_once(
    keystone: Keystone,
    tenant: Tenant,
    make_trusts: MakeTrusts,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Keystone, Tenant], SecurityContext],
    reason: str,
) -> None:
    security = make(keystone, tenant)
    before = tenant.trusts()
    trusts = make_trusts()
    with caplog.at_level(logging.INFO, LOGGER):
        for _ in range(3):
            assert trusts.trust_for(security) is None
    [record] = caplog.records
    assert (record.levelno, reason in record.getMessage()) == (logging.INFO, True)
    assert str(security.auth_token) not in caplog.text
    assert tenant.trusts() == before


def test_refusal_of_keystone_is_a_warning(
    tenant: Tenant, make_trusts: MakeTrusts, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    trusts = make_trusts(trustee_id="0" * 32, clock=clock)
    security = tenant.security()
    with caplog.at_level(logging.INFO, LOGGER):
        for _ in range(3):
            assert trusts.trust_for(security) is None
            clock.advance(61)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "POST" in record.getMessage()
    assert "0" * 32 in record.getMessage()
    assert str(security.auth_token) not in caplog.text


def test_failed_creation_leaves_no_second_trust(
    keystone: Keystone, tenant: Tenant, make_trusts: MakeTrusts
) -> None:
    root = keystone.url.removesuffix("/v3")
    through = forward(root)
    # The listing, and the creation whose response is lost.
    lost = (through, forward(root, then=hang_up()), through)
    with BreakingServer(*lost) as server:
        made = make_trusts(f"{server.url}/v3", sleep=lambda _: None).trust_for(tenant.security())
    assert [made] == tenant.trusts()
