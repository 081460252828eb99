"""A real Mistral with authentication, two projects, and a relay for one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from support.identity import Identity, keystone_options
from support.waiting import eventually

from st2_mistral_sandbox.mistral_server import MistralServer
from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral import config
from st2actions_mistral.client.mistral import MistralClient

WORKFLOW = """\
version: '2.0'
NAME:
  tasks:
    first: {action: st2.action ref='core.noop', on-success: second}
    second: {action: std.noop, on-success: third}
    third: {action: st2.action ref='core.noop'}
"""


class Cloud:
    """Mistral, keystone and StackStorm, and configurations for the users of two projects."""

    def __init__(self, folder: Path, identity: Identity, stack: ExitStack) -> None:
        self._folder = folder
        self._identity = identity
        self._stack = stack
        self.stackstorm = stack.enter_context(StackStorm())
        self._st2 = (
            f"[st2]\napi_url = {self.stackstorm.api_url}\nstream_url = {self.stackstorm.stream_url}\n"
            f"api_key = {self.stackstorm.create_api_key()}\n"
        )
        self._mistral = stack.enter_context(MistralServer(folder, extra_config=self._protected()))

    def _protected(self) -> str:
        return (
            f"{self._st2}\n[pecan]\nauth_enable = true\n"
            f"[keystone_authtoken]\nwww_authenticate_uri = {self._identity.url}\n"
            f"{keystone_options(self._identity.url, user='mistral')}\n"
        )

    def config_of(self, user: str) -> Path:
        """Return the configuration of a relay that is this user in Mistral."""
        file = self._folder / f"{user}.conf"
        file.touch(mode=0o600)
        file.write_text(
            f"{self._st2}\n[st2_relay]\nmistral_url = {self._mistral.url}\nresync_interval = 0.5\n"
            f"reschedule_after = 1\n{keystone_options(self._identity.url, user=user)}"
        )
        return file

    def client(self, user: str) -> MistralClient:
        """Return Mistral as a user sees it."""
        settings = config.load_settings(config.read_files([str(self.config_of(user))]))
        client = MistralClient(settings.mistral, credential=settings.credential)
        self._stack.callback(client.close)
        return client

    def relay(self, user: str) -> ChildProcess:
        """Start a relay."""
        arguments = ["relay", "--config-file", str(self.config_of(user))]
        module = "st2actions_mistral.cli.main"
        relay = ChildProcess("The relay", [module, *arguments], self._folder / f"{user}.log")
        self._stack.callback(relay.stop)
        relay.start()
        return relay


@pytest.fixture
def cloud(tmp_path: Path, httpserver: HTTPServer) -> Iterator[Cloud]:
    identity = Identity(httpserver)
    identity.members = {
        "admin-of-a": ("a", "admin"),
        "member-of-a": ("a", "member"),
        "member-of-b": ("b", "member"),
    }
    with ExitStack() as stack:
        yield Cloud(tmp_path, identity, stack)


def start(mistral: MistralClient, name: str) -> str:
    mistral.save_definition(WORKFLOW.replace("NAME", name), "workflow", validate=False)
    return str(mistral.start_workflow(name, {})["id"])


def test_an_admin_relay_completes_only_its_own_project(cloud: Cloud) -> None:
    """An admin sees the records of all projects."""
    a, b = cloud.client("member-of-a"), cloud.client("member-of-b")
    first, second = start(a, "tests.a"), start(b, "tests.b")
    eventually(lambda: len(list(b.running_actions())) == 1, "the action of b is pending")
    relay = cloud.relay("admin-of-a")

    def log() -> str:
        return "\n".join(relay.tail(10_000))

    eventually(lambda: a.execution_state(first) == "SUCCESS", "the workflow of a succeeds")
    eventually(lambda: "project 'b'" in log(), "the relay reports project b")
    seen_by_admin = list(cloud.client("admin-of-a").running_actions())
    assert [action["project_id"] for action in seen_by_admin] == ["b"]
    assert log().count("Nothing is completed, rescheduled or cancelled in") == 1

    cloud.relay("member-of-b")
    eventually(lambda: b.execution_state(second) == "SUCCESS", "the workflow of b succeeds")
    for client, workflow, project in ((a, first, "a"), (b, second, "b")):
        tasks: list[dict[str, Any]] = client.tasks(workflow)
        assert {task["name"]: task["project_id"] for task in tasks} == dict.fromkeys(
            ("first", "second", "third"), project
        )
