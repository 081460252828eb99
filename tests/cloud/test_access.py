"""Access of the relay to projects, with a real keystone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.clock import Clock
from support.keystone.api import Keystone
from support.keystone.cloud import RELAY_ROLE

from st2actions_mistral import config
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.model.project import NoAccess, Scope


class Relay:
    """The clients of the relay's user, who is an administrator of ``service``."""

    def __init__(self, keystone: Keystone, lister: MistralClient) -> None:
        self._keystone = keystone
        self.clock = Clock()
        self.clients = ProjectClients(lister, trusts=True, remember=15, clock=self.clock)

    def project_in(self, name: str, trust_id: str | None = None) -> str | None:
        """Return the project of the token with which the relay acts; None if it may not."""
        found = self.clients.access(self._keystone.project(name), trust_id)
        if isinstance(found, NoAccess):
            return None
        scope = found.scope()
        assert scope is not None
        return scope.project_id

    def reason(self, project_id: str, trust_id: str | None = None) -> str:
        found = self.clients.access(project_id, trust_id)
        assert isinstance(found, NoAccess)
        return found.reason


@pytest.fixture
def relay(keystone: Keystone, tmp_path: Path) -> Iterator[Relay]:
    file = tmp_path / "relay.conf"
    file.touch(mode=0o600)
    file.write_text(f"[st2_relay]\n{keystone.options('relay', 'service')}")
    settings = config.load_settings(config.read_files([str(file)]))
    with closing(MistralClient(settings.mistral, credential=settings.credential)) as lister:
        yield Relay(keystone, lister)


def test_relay_acts_as_an_ordinary_user_of_each_project(keystone: Keystone, relay: Relay) -> None:
    assert relay.clients.scope() == Scope(keystone.project("service"), is_admin=True)
    for name in ("a", "b"):
        assert relay.project_in(name) == keystone.project(name)
    assert "has the role admin" in relay.reason(keystone.project("service"))
    assert "has no role" in relay.reason("0" * 32)


def test_role_is_given_and_taken(keystone: Keystone, relay: Relay) -> None:
    keystone.create_project("opened")
    assert relay.project_in("opened") is None
    keystone.grant(RELAY_ROLE, "relay", "opened")
    relay.clock.advance(16)
    assert relay.project_in("opened") == keystone.project("opened")
    keystone.grant("admin", "relay", "opened")
    relay.clock.advance(301)
    assert "has the role admin" in relay.reason(keystone.project("opened"))
    keystone.revoke("admin", "relay", "opened")
    relay.clock.advance(16)
    assert relay.project_in("opened") == keystone.project("opened")
    keystone.enable_project("opened", False)
    relay.clock.advance(301)
    assert relay.project_in("opened") is None


def test_trust_is_for_its_project_only(keystone: Keystone, relay: Relay) -> None:
    keystone.create_project("trusting")
    keystone.create_user("trustor-of-relay")
    keystone.grant("member", "trustor-of-relay", "trusting")
    trust = keystone.create_trust("trustor-of-relay", "trusting", "relay", "member")
    assert relay.project_in("trusting") is None
    assert relay.project_in("trusting", trust) == keystone.project("trusting")
    # There the role of the relay's user counts.
    assert relay.project_in("a", trust) == keystone.project("a")
    assert relay.project_in("trusting", "0" * 32) is None


LOSSES: dict[str, Callable[[Keystone, str, str], None]] = {
    "deleted": lambda keystone, trust, user: keystone.delete_trust(trust),
    "role-lost": lambda keystone, trust, user: keystone.revoke("member", user, "losing"),
    "user-disabled": lambda keystone, trust, user: keystone.enable_user(user, False),
    "user-deleted": lambda keystone, trust, user: keystone.delete_user(user),
    "project-disabled": lambda keystone, trust, user: keystone.enable_project("losing", False),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_trust_that_is_lost_is_refused(
    keystone: Keystone, relay: Relay, loss: str, request: pytest.FixtureRequest
) -> None:
    user = f"trustor-{loss}"
    keystone.create_project("losing")
    request.addfinalizer(lambda: keystone.delete_project("losing"))
    keystone.create_user(user)
    keystone.grant("member", user, "losing")
    trust = keystone.create_trust(user, "losing", "relay", "member")
    project_id = keystone.project("losing")
    assert relay.project_in("losing", trust) == project_id
    LOSSES[loss](keystone, trust, user)
    relay.clock.advance(301)
    assert "keystone refuses its trust" in relay.reason(project_id, trust)


def test_trust_for_somebody_else_is_refused(keystone: Keystone, relay: Relay) -> None:
    keystone.create_project("elsewhere")
    keystone.create_user("trustor-elsewhere")
    keystone.grant("member", "trustor-elsewhere", "elsewhere")
    trust = keystone.create_trust("trustor-elsewhere", "elsewhere", "user-of-a", "member")
    assert "keystone refuses its trust" in relay.reason(keystone.project("elsewhere"), trust)
