"""A real Mistral with a real keystone: ``st2.action`` makes a trust, and the relay uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.identity import v3
from support.keystone.api import DOMAIN, Keystone, password_of
from support.keystone.cloud import RELAY_ROLE
from support.keystone.server import running
from support.waiting import eventually

from st2_mistral_sandbox.mistral_server import MistralServer
from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral import config
from st2actions_mistral.client.auth import KeystoneCredential, MistralCredential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts, Tls
from st2actions_mistral.model.context import ids_are_signed

KEY = "key-of-both"

WORKFLOW = """\
version: '2.0'
tests.NAME:
  tasks:
    first: {action: st2.action ref='core.noop', on-success: each}
    each:
      with-items: i in <% range(20) %>
      action: st2.action ref='core.noop'
"""


class Cloud:
    """Mistral, keystone and StackStorm, where trusts are switched on."""

    def __init__(self, folder: Path, keystone: Keystone, stack: ExitStack) -> None:
        self.keystone = keystone
        self._folder = folder
        self._stack = stack
        self.stackstorm = stack.enter_context(StackStorm())
        options = (
            f"[pecan]\nauth_enable = true\n"
            f"[keystone_authtoken]\nwww_authenticate_uri = {keystone.url}\n"
            f"{keystone.options('mistral', 'service')}\n"
            f"[st2]\napi_url = {self.stackstorm.api_url}\ncontext_key = {KEY}\n"
            f"api_key = {self.stackstorm.create_api_key()}\n"
            # Executors need no password of the relay.
            f"[st2_relay]\nproject_auth = trust\nauth_url = {keystone.url}\n"
            f"user_id = {keystone.user('relay')}\n"
        )
        self.server = stack.enter_context(MistralServer(folder, extra_config=options))

    def credential(self, user: str, project: str) -> MistralCredential:
        file = self._folder / f"{user}.conf"
        file.touch(mode=0o600)
        file.write_text(f"[st2_relay]\n{self.keystone.options(user, project)}")
        found = config.load_settings(config.read_files([str(file)])).credential
        assert found is not None
        return found

    def client(self, credential: MistralCredential) -> MistralClient:
        client = MistralClient(self._settings(), credential=credential)
        self._stack.callback(client.close)
        return client

    def as_trustee(self, trust_id: str) -> MistralClient:
        """Return Mistral as the relay uses it with a trust."""
        credential = self.credential("relay", "service").scoped(None, trust_id)
        assert credential is not None
        return self.client(credential)

    def tenant(self, name: str, project: str = "a") -> MistralClient:
        """Create a user of a project, and return Mistral as that user sees it."""
        self.keystone.create_user(name)
        self.keystone.grant("member", name, project)
        client = self.client(self.credential(name, project))
        client.save_definition(WORKFLOW.replace("NAME", name), "workflow", validate=False)
        return client

    @contextmanager
    def relay(self) -> Iterator[ChildProcess]:
        """Start the relay, an administrator who has roles on the projects ``a`` and ``b``."""
        file = self._folder / "relay.conf"
        file.touch(mode=0o600)
        file.write_text(
            f"[st2]\napi_url = {self.stackstorm.api_url}\nstream_url = {self.stackstorm.stream_url}\n"
            f"api_key = {self.stackstorm.create_api_key()}\ncontext_key = {KEY}\n"
            f"[st2_relay]\nmistral_url = {self.server.url}\nresync_interval = 1\n"
            f"project_auth = trust\n{self.keystone.options('relay', 'service')}"
        )
        arguments = ["relay", "--config-file", str(file)]
        relay = ChildProcess(
            "The relay", ["st2actions_mistral.cli.main", *arguments], self._folder / "relay.log"
        )
        try:
            relay.start()
            yield relay
        finally:
            relay.stop()

    def children(self, workflow_id: str, number: int) -> list[dict[str, Any]]:
        """Wait for the executions of a workflow, and return the ids in their contexts."""

        def look() -> list[dict[str, Any]] | None:
            contexts = [row["context"].get("mistral", {}) for row in self.stackstorm.executions.all()]
            found = [ids for ids in contexts if ids.get("workflow_execution_id") == workflow_id]
            return found if len(found) == number else None

        return eventually(look, f"workflow {workflow_id} has {number} executions")

    def _settings(self) -> MistralSettings:
        file = self._folder / "url.conf"
        file.write_text(f"[st2_relay]\nmistral_url = {self.server.url}\n")
        return config.load_settings(config.read_files([str(file)])).mistral


@pytest.fixture(scope="module")
def keystone(keystone_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    """Start a keystone without a cache.

    The relay asks while a test changes a user. A request that read the user before the change could
    store it in the cache after the change, for ten minutes.
    """
    options = "[cache]\nenabled = false"
    with running(tmp_path_factory.mktemp("keystone"), keystone_template, options) as api:
        yield api


@pytest.fixture(scope="module")
def cloud(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with ExitStack() as stack:
        yield Cloud(tmp_path_factory.mktemp("cloud"), keystone, stack)


def test_workflow_stays_its_users_when_actions_are_completed_with_its_trust(cloud: Cloud) -> None:
    keystone = cloud.keystone
    tenant = cloud.tenant("trusting")
    workflow = str(tenant.start_workflow("tests.trusting", {})["id"])
    [first] = cloud.children(workflow, 1)
    assert first["project_id"] == keystone.project("a")
    assert ids_are_signed(first, KEY)
    [trust] = keystone.trusts("trusting")
    assert (trust["id"], trust["trustee_user_id"]) == (first["trust_id"], keystone.user("relay"))
    relay = cloud.as_trustee(first["trust_id"])
    assert relay.complete_action(first["action_execution_id"], "SUCCESS", {"result": 1})
    # Their token is the one of the relay's trust.
    children = cloud.children(workflow, 21)
    assert {ids["trust_id"] for ids in children} == {trust["id"]}
    for ids in children[1:]:
        relay.complete_action(ids["action_execution_id"], "SUCCESS", {"result": 1})
    eventually(lambda: tenant.execution_state(workflow) == "SUCCESS", "the workflow succeeds")
    rows = [*tenant.tasks(workflow)]
    for task in tenant.tasks(workflow):
        rows += tenant.attempts(task["id"])
    assert len(rows) == 23
    assert {row["project_id"] for row in rows} == {keystone.project("a")}
    assert len(keystone.trusts("trusting")) == 1


def test_relay_without_a_role_completes_by_trust(cloud: Cloud) -> None:
    keystone = cloud.keystone
    project = keystone.create_project("only-trusts")
    tenant = cloud.tenant("only", "only-trusts")
    with cloud.relay():
        workflow = str(tenant.start_workflow("tests.only", {})["id"])
        eventually(lambda: tenant.execution_state(workflow) == "SUCCESS", "the workflow succeeds")
    children = cloud.children(workflow, 21)
    [trust] = keystone.trusts("only")
    assert {ids["trust_id"] for ids in children} == {trust["id"]}
    assert {task["project_id"] for task in tenant.tasks(workflow)} == {project}


Change = Callable[[Keystone, str, str], None]


def _role_of_the_relay(keystone: Keystone, user: str, project: str) -> None:
    keystone.grant(RELAY_ROLE, "relay", project)


@pytest.mark.parametrize(
    ("name", "loses", "mends"),
    [
        (
            "deletes-the-trust",
            lambda keystone, user, project: keystone.delete_trust(keystone.trusts(user)[0]["id"]),
            _role_of_the_relay,
        ),
        (
            "loses-the-role",
            lambda keystone, user, project: keystone.revoke("member", user, project),
            lambda keystone, user, project: keystone.grant("member", user, project),
        ),
        (
            "is-disabled",
            lambda keystone, user, project: keystone.enable_user(user, False),
            lambda keystone, user, project: keystone.enable_user(user),
        ),
        (
            "is-deleted",
            lambda keystone, user, project: keystone.delete_user(user),
            _role_of_the_relay,
        ),
    ],
)
def test_action_waits_while_its_trust_is_refused(
    cloud: Cloud, name: str, loses: Change, mends: Change
) -> None:
    keystone = cloud.keystone
    project = keystone.create_project(name)
    tenant = cloud.tenant(name, name)
    # Any user's token ends with a change of the user.
    admin = cloud.client(cloud.credential("relay", "service"))
    workflow = str(tenant.start_workflow(f"tests.{name}", {})["id"])
    cloud.children(workflow, 1)
    loses(keystone, name, name)
    with cloud.relay() as relay:

        def reported() -> bool:
            log = "\n".join(relay.tail(10_000))
            return project in log and "keystone refuses its trust" in log

        eventually(reported, "the relay says why the action waits")
        assert admin.execution_state(workflow) == "RUNNING"
        mends(keystone, name, name)
        eventually(lambda: admin.execution_state(workflow) == "SUCCESS", "the workflow succeeds", 120)
    assert {row["project_id"] for row in admin.tasks(workflow)} == {project}


def test_workflow_of_a_cron_trigger_has_no_trust_of_the_relay(cloud: Cloud) -> None:
    keystone = cloud.keystone
    cloud.tenant("sleeping")
    of_cron = keystone.create_trust("sleeping", "a", "mistral", "member")
    plugin = v3.Password(
        auth_url=keystone.url,
        username="mistral",
        password=password_of("mistral"),
        user_domain_id=DOMAIN,
        trust_id=of_cron,
    )
    mistral = cloud.client(KeystoneCredential(plugin, Tls(), Timeouts(), ""))
    workflow = str(mistral.start_workflow("tests.sleeping", {})["id"])
    [first] = cloud.children(workflow, 1)
    assert first["project_id"] == keystone.project("a")
    assert "trust_id" not in first
    assert ids_are_signed(first, KEY)
    assert [row["id"] for row in keystone.trusts("sleeping")] == [of_cron]
