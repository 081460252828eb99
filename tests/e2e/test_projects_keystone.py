"""A real Mistral with authentication, two projects, and one relay for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_httpserver import HTTPServer
from support.identity import Identity, keystone_options
from support.ports import own_port
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
        self._port = own_port()
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
            # Otherwise it takes a revoked token for minutes.
            f"token_cache_time = -1\n{keystone_options(self._identity.url, user='mistral')}\n"
        )

    def config_of(self, user: str) -> Path:
        """Return the configuration of a relay that is this user in Mistral."""
        file = self._folder / f"{user}.conf"
        file.touch(mode=0o600)
        file.write_text(
            f"{self._st2}\n[st2_relay]\nmistral_url = {self._mistral.url}\nresync_interval = 0.5\n"
            f"health_port = {self._port}\n"
            f"{keystone_options(self._identity.url, user=user)}"
        )
        return file

    def client(self, user: str) -> MistralClient:
        """Return Mistral as a user sees it."""
        settings = config.load_settings(config.read_files([str(self.config_of(user))]))
        client = MistralClient(settings.mistral, credential=settings.credential)
        self._stack.callback(client.close)
        return client

    def failing(self) -> Any:
        return requests.get(f"http://127.0.0.1:{self._port}/failing", timeout=5).json()

    def metrics(self) -> str:
        return requests.get(f"http://127.0.0.1:{self._port}/metrics", timeout=5).text

    def relay(self, user: str) -> ChildProcess:
        """Start a relay."""
        arguments = ["relay", "--config-file", str(self.config_of(user))]
        module = "st2actions_mistral.cli.main"
        relay = ChildProcess("The relay", [module, *arguments], self._folder / f"{user}.log")
        self._stack.callback(relay.stop)
        relay.start()
        eventually(self._responds, "the relay runs")
        return relay

    def _responds(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self._port}/health", timeout=5).ok
        except requests.ConnectionError:
            return False


@pytest.fixture
def identity(httpserver: HTTPServer) -> Identity:
    made = Identity(httpserver)
    made.members = {
        "relay": ("service", "admin"),
        "member-of-a": ("a", "member"),
        "member-of-b": ("b", "member"),
    }
    return made


@pytest.fixture
def cloud(tmp_path: Path, identity: Identity) -> Iterator[Cloud]:
    with ExitStack() as stack:
        yield Cloud(tmp_path, identity, stack)


def start(mistral: MistralClient, name: str) -> str:
    mistral.save_definition(WORKFLOW.replace("NAME", name), "workflow", validate=False)
    return str(mistral.start_workflow(name, {})["id"])


def await_end(mistral: MistralClient, workflow: str) -> None:
    eventually(lambda: mistral.execution_state(workflow) == "SUCCESS", "the workflow succeeds")


def assert_is_whole(mistral: MistralClient, workflow: str, project: str) -> None:
    """Check that all that a workflow has is in its own project."""
    tasks: list[dict[str, Any]] = mistral.tasks(workflow)
    assert {task["name"]: task["project_id"] for task in tasks} == dict.fromkeys(
        ("first", "second", "third"), project
    )
    actions = [row for task in tasks for row in mistral.attempts(task["id"])]
    assert [row["project_id"] for row in actions] == [project] * 3


def test_one_relay_completes_the_workflows_of_all_projects(cloud: Cloud, identity: Identity) -> None:
    """It lists as an administrator, and acts as a plain member of each project."""
    identity.roles = {"a": ["member"], "b": ["reader", "member"]}
    a, b = cloud.client("member-of-a"), cloud.client("member-of-b")
    first, second = start(a, "tests.a"), start(b, "tests.b")
    cloud.relay("relay")
    for client, workflow, project in ((a, first, "a"), (b, second, "b")):
        await_end(client, workflow)
        assert_is_whole(client, workflow, project)
    assert list(cloud.client("relay").unfinished_executions()) == []
    # One token for each project.
    assert sorted(identity.scopes) == ["a", "b"]


def test_project_without_a_role_waits_until_it_is_given(cloud: Cloud, identity: Identity) -> None:
    identity.roles = {"a": ["member"]}
    a, b = cloud.client("member-of-a"), cloud.client("member-of-b")
    relay = cloud.relay("relay")
    first, second = start(a, "tests.a"), start(b, "tests.b")
    await_end(a, first)
    eventually(lambda: "project 'b'" in cloud.failing(), "the relay reports project b")
    log = "\n".join(relay.tail(10_000))
    assert log.count("Nothing is completed, rescheduled or cancelled in project 'b'") == 1
    assert "Give the relay's user a role on the project" in cloud.failing()["project 'b'"]["error"]
    assert "st2_relay_closed_projects 1.0" in cloud.metrics()
    [action] = b.running_actions()
    assert action["project_id"] == "b"

    identity.roles["b"] = ["member"]
    await_end(b, second)
    assert_is_whole(b, second, "b")
    eventually(lambda: cloud.failing() == {}, "nothing fails any more")
    assert "st2_relay_closed_projects 0.0" in cloud.metrics()

    # The role is taken away: keystone revokes the tokens.
    identity.revoke("b")
    third = start(b, "tests.b")
    eventually(lambda: "project 'b'" in cloud.failing(), "the relay reports project b again")
    identity.roles["b"] = ["member"]
    await_end(b, third)
    assert_is_whole(b, third, "b")


def test_project_where_the_relay_is_an_administrator_is_refused(
    cloud: Cloud, identity: Identity
) -> None:
    identity.roles = {"b": ["member", "admin"]}
    b = cloud.client("member-of-b")
    workflow = start(b, "tests.b")
    cloud.relay("relay")
    eventually(lambda: "project 'b'" in cloud.failing(), "the relay reports project b")
    assert "has the role admin" in cloud.failing()["project 'b'"]["error"]
    assert b.execution_state(workflow) == "RUNNING"


def test_plain_member_completes_the_workflows_of_its_project(cloud: Cloud) -> None:
    b = cloud.client("member-of-b")
    workflow = start(b, "tests.b")
    cloud.relay("member-of-b")
    await_end(b, workflow)
    assert_is_whole(b, workflow, "b")
