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
      with-items: i in <% range(ITEMS) %>
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

    def tenant(self, name: str, project: str = "a", *, items: int = 20) -> MistralClient:
        """Create a user of a project with a workflow, and return Mistral as that user sees it."""
        self.keystone.create_user(name)
        self.keystone.grant("member", name, project)
        client = self.client(self.credential(name, project))
        text = WORKFLOW.replace("NAME", name).replace("ITEMS", str(items))
        client.save_definition(text, "workflow", validate=False)
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


Change = Callable[[Keystone, str], None]


def _give_the_relay_a_role(keystone: Keystone, project: str) -> None:
    keystone.grant(RELAY_ROLE, "relay", project)


def _delete_the_trust(keystone: Keystone, user: str) -> None:
    keystone.delete_trust(keystone.trusts(user)[0]["id"])


# What happens to the user of a project of the same name, and what mends it.
LOSSES: dict[str, tuple[Change, Change]] = {
    "whose-trust-is-deleted": (_delete_the_trust, _give_the_relay_a_role),
    "without-a-role": (
        lambda keystone, user: keystone.revoke("member", user, user),
        lambda keystone, user: keystone.grant("member", user, user),
    ),
    "disabled": (
        lambda keystone, user: keystone.enable_user(user, False),
        lambda keystone, user: keystone.enable_user(user),
    ),
    "deleted": (lambda keystone, user: keystone.delete_user(user), _give_the_relay_a_role),
}


def test_actions_wait_while_their_trusts_are_refused(cloud: Cloud) -> None:
    keystone = cloud.keystone
    # Any user's token ends with a change of the user.
    admin = cloud.client(cloud.credential("relay", "service"))
    projects, workflows = {}, {}
    for user, (loses, _) in LOSSES.items():
        projects[user] = keystone.create_project(user)
        tenant = cloud.tenant(user, user, items=2)
        workflows[user] = str(tenant.start_workflow(f"tests.{user}", {})["id"])
        cloud.children(workflows[user], 1)
        loses(keystone, user)
    with cloud.relay() as relay:
        for user, project in projects.items():
            # Bound now: the next turn changes the names.
            def reported(project: str = project) -> bool:
                lines = [line for line in relay.tail(10_000) if project in line]
                return any("keystone refuses its trust" in line for line in lines)

            eventually(reported, f"the relay says why the action of {user} waits")
            assert admin.execution_state(workflows[user]) == "RUNNING"
        for user, (_, mends) in LOSSES.items():
            mends(keystone, user)
        for user, workflow in workflows.items():

            def succeeds(workflow: str = workflow) -> bool:
                return admin.execution_state(workflow) == "SUCCESS"

            eventually(succeeds, f"the workflow of {user} succeeds", 120)
    for user, project in projects.items():
        assert {row["project_id"] for row in admin.tasks(workflows[user])} == {project}


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
