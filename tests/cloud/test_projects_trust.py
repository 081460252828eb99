"""A relay that completes actions with the trusts of users, with a real Mistral and a real keystone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from support.keystone.api import Keystone
from support.keystone.cloud import RELAY_ROLE
from support.ports import own_port
from support.waiting import eventually

from st2_mistral_sandbox.mistral_server import MistralServer
from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral import config
from st2actions_mistral.client.mistral import MistralClient

WORKFLOWS = """\
version: '2.0'
NAME:
  tasks:
    first: {action: st2.action ref='core.noop', on-success: each}
    each:
      with-items: i in <% range(3) %>
      action: st2.action ref='core.noop'
      on-success: below
    below: {workflow: NAME.below}
NAME.below:
  tasks:
    last: {action: st2.action ref='core.noop'}
"""


class Cloud:
    """Mistral and StackStorm with a relay that has no role in the projects of workflows."""

    def __init__(self, folder: Path, keystone: Keystone, stack: ExitStack) -> None:
        self.keystone = keystone
        self._folder = folder
        self._stack = stack
        keystone.create_user("trustee")
        keystone.grant("admin", "trustee", "service")
        self._port = own_port()
        stackstorm = stack.enter_context(StackStorm())
        st2 = (
            f"[st2]\napi_url = {stackstorm.api_url}\nstream_url = {stackstorm.stream_url}\n"
            f"api_key = {stackstorm.create_api_key()}\ncontext_key = key-of-both\n"
        )
        server = stack.enter_context(
            MistralServer(
                folder,
                extra_config=(
                    f"{st2}[pecan]\nauth_enable = true\n"
                    f"[keystone_authtoken]\nwww_authenticate_uri = {keystone.url}\n"
                    f"{keystone.options('mistral', 'service')}\n"
                    f"[st2_relay]\nproject_auth = trust\nauth_url = {keystone.url}\n"
                    f"user_id = {keystone.user('trustee')}\n"
                ),
            )
        )
        self._url = server.url
        self._config = self._write(
            "relay",
            f"{st2}[st2_relay]\nmistral_url = {self._url}\nproject_auth = trust\n"
            f"resync_interval = 0.5\nhealth_port = {self._port}\n"
            f"{keystone.options('trustee', 'service')}",
        )

    def tenant(self, name: str, project: str) -> MistralClient:
        """Create a user of a new project, and return Mistral as that user sees it."""
        self.keystone.create_project(project)
        self.keystone.create_user(name)
        self.keystone.grant("member", name, project)
        options = self.keystone.options(name, project)
        file = self._write(name, f"[st2_relay]\nmistral_url = {self._url}\n{options}")
        settings = config.load_settings(config.read_files([str(file)]))
        client = MistralClient(settings.mistral, credential=settings.credential)
        self._stack.callback(client.close)
        client.save_definition(WORKFLOWS.replace("NAME", name), "workflow", validate=False)
        return client

    def relay(self) -> ChildProcess:
        command = ["st2actions_mistral.cli.main", "relay", "--config-file", str(self._config)]
        relay = ChildProcess("The relay", command, self._folder / "relay.log")
        self._stack.callback(relay.stop)
        relay.start()
        return relay

    def failing(self) -> Any:
        try:
            return requests.get(f"http://127.0.0.1:{self._port}/failing", timeout=5).json()
        except requests.ConnectionError:
            return {}

    def _write(self, name: str, text: str) -> Path:
        file = self._folder / f"{name}.conf"
        file.touch(mode=0o600)
        file.write_text(text)
        return file


@pytest.fixture(scope="module")
def cloud(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with ExitStack() as stack:
        yield Cloud(tmp_path_factory.mktemp("trusting"), keystone, stack)


def test_relay_without_a_role_completes_workflows_with_trusts(cloud: Cloud) -> None:
    users = {"user-of-east": "east", "user-of-west": "west"}
    tenants = {name: cloud.tenant(name, project) for name, project in users.items()}
    started = {name: tenant.start_workflow(name, {})["id"] for name, tenant in tenants.items()}
    relay = cloud.relay()
    for name, tenant in tenants.items():
        eventually(
            lambda tenant=tenant, name=name: tenant.execution_state(started[name]) == "SUCCESS",
            "the workflow succeeds",
        )
        [below] = [task for task in tenant.tasks(started[name]) if task["name"] == "below"]
        [sub] = tenant.sub_executions(below["id"])
        tasks = [*tenant.tasks(started[name]), *tenant.tasks(sub["id"])]
        actions = [row for task in tasks for row in tenant.attempts(task["id"])]
        assert (len(tasks), len(actions)) == (4, 5)
        project = cloud.keystone.project(users[name])
        assert {row["project_id"] for row in [*tasks, *actions]} == {project}
        assert len(cloud.keystone.trusts(name)) == 1
    assert cloud.failing() == {}
    relay.stop()


def test_action_whose_trust_was_deleted_waits_for_a_role(cloud: Cloud) -> None:
    keystone = cloud.keystone
    tenant = cloud.tenant("user-of-north", "north")
    workflow = tenant.start_workflow("user-of-north", {})["id"]
    eventually(lambda: keystone.trusts("user-of-north"), "the action makes a trust")
    [trust] = keystone.trusts("user-of-north")
    keystone.delete_trust(trust["id"])
    relay = cloud.relay()
    key = f"project {keystone.project('north')!r}"
    eventually(lambda: key in cloud.failing(), "the relay reports the project")
    reason = cloud.failing()[key]["error"]
    assert "keystone refuses its trust" in reason
    assert "the relay's user has no role" in reason
    assert tenant.execution_state(workflow) == "RUNNING"
    keystone.grant(RELAY_ROLE, "trustee", "north")
    eventually(lambda: tenant.execution_state(workflow) == "SUCCESS", "the workflow succeeds")
    assert {row["project_id"] for row in tenant.tasks(workflow)} == {keystone.project("north")}
    relay.stop()
