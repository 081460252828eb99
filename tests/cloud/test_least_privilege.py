"""Workflows with exactly the documented roles and policy rules, with a real keystone."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from mistral import policies
from support.command_line import run_command
from support.keystone.api import Keystone
from support.mistral_bench import JOB
from support.waiting import TIMEOUT, eventually

from st2_mistral_sandbox import mistral_runner
from st2_mistral_sandbox.mistral_server import MistralServer
from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.stackstorm import RunResult, StackStorm
from st2actions_mistral import config
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.mistral_rules import ACTING, LISTING

DOCUMENT = Path(__file__).parents[2] / "docs" / "security" / "mistral-policies.md"

LIST, ACT, RUN = "admin", "least-relay", "least-runner"
"""The roles: of the relay for all projects, of the relay in a project, and of the runner."""

SECTIONS = {
    LIST: "The relay's token for all projects",
    ACT: "The relay's token for one project",
    RUN: "The runner `mistral-v2`",
}

WORKBOOK = """
version: '2.0'
name: least.NAME
actions:
  rest: {base: core.noop}
workflows:
  main:
    tasks:
      first: {action: core.noop, on-success: [second]}
      second: {workflow: sub}
  sub:
    tasks:
      say: {action: rest, on-success: [each]}
      each:
        with-items: i in [1, 2]
        action: ACTION
"""


def documented(role: str) -> set[str]:
    """Return the rules in the table of a section."""
    section = DOCUMENT.read_text(encoding="utf-8").split(f"## {SECTIONS[role]}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return set(re.findall(r"`([\w:]+)`", " ".join(rows)))


class Cloud:
    """Mistral with a policy, keystone, StackStorm, and a relay.

    :param relay: the user of the relay, an administrator of the project ``service``.
    :param mode: the option ``project_auth``.
    """

    def __init__(
        self, folder: Path, keystone: Keystone, stack: ExitStack, relay: str, mode: str
    ) -> None:
        self._folder = folder
        self._relay = relay
        self.mode = mode
        self.keystone = keystone
        self._stack = stack
        self._policy = folder / "policy.yaml"
        self.allow()
        self.stackstorm = StackStorm(
            runners={"mistral-v2": mistral_runner.runner(self.runner, lambda: self.stackstorm.api_url)},
            packs=folder / "packs",
        )
        stack.enter_context(self.stackstorm)
        self.stackstorm.register_runner("tests-async", lambda request: RunResult("running", {"a": 1}))
        self.stackstorm.register_action(JOB)
        self._key = self.stackstorm.create_api_key()
        self._st2 = (
            f"[st2]\napi_url = {self.stackstorm.api_url}\nstream_url = {self.stackstorm.stream_url}\n"
            f"api_key = {self._key}\n"
        )
        protected = (
            f"{self._st2}\n[pecan]\nauth_enable = true\n[oslo_policy]\npolicy_file = {self._policy}\n"
            f"[st2_relay]\nproject_auth = {mode}\nauth_url = {keystone.url}\n"
            f"user_id = {keystone.user(relay)}\n"
            f"[keystone_authtoken]\nwww_authenticate_uri = {keystone.url}\n"
            f"{keystone.options('mistral', 'service')}\n"
        )
        self._mistral = stack.enter_context(MistralServer(folder, extra_config=protected))

    def allow(
        self, more: Mapping[str, str] | None = None, less: Collection[tuple[str, str]] = ()
    ) -> None:
        """Write the policy: what is documented, and nothing else.

        :param more: roles by rules, to add.
        :param less: pairs of role and rule, to leave out.
        """
        allowed: dict[str, list[str]] = {
            rule.name: [] for rule in policies.list_rules() if ":" in rule.name
        }
        for role in SECTIONS:
            # With a trust the relay acts with the roles of the workflow's user.
            holder = RUN if role == ACT and self.mode == "trust" else role
            for rule in documented(role):
                if (role, rule) not in less:
                    allowed[rule].append(f"role:{holder}")
        for rule, role in (more or {}).items():
            allowed[rule].append(f"role:{role}")
        text = yaml.safe_dump({rule: " or ".join(roles) or "!" for rule, roles in allowed.items()})
        self._policy.write_text(text, encoding="utf-8")

    def config_of(self, user: str, project: str) -> Path:
        file = self._folder / f"{user}.conf"
        file.touch(mode=0o600)
        file.write_text(
            f"{self._st2}\n[st2_relay]\nmistral_url = {self._mistral.url}\nresync_interval = 1\n"
            f"project_auth = {self.mode}\n"
            f"{self.keystone.options(user, project)}"
        )
        return file

    def client(self, user: str, project: str) -> MistralClient:
        settings = config.load_settings(config.read_files([str(self.config_of(user, project))]))
        client = MistralClient(settings.mistral, credential=settings.credential)
        self._stack.callback(client.close)
        return client

    def runner(self) -> MistralClient:
        """Return Mistral as StackStorm's runner sees it."""
        return self.client("least-runner-of-a", "a")

    def start_relay(self) -> ChildProcess:
        arguments = ["relay", "--config-file", str(self.config_of(self._relay, "service"))]
        module = "st2actions_mistral.cli.main"
        relay = ChildProcess("The relay", [module, *arguments], self._folder / "relay.log")
        self._stack.callback(relay.stop)
        relay.start()
        return relay

    def check(self, *arguments: str, user: str | None = None, project: str = "service") -> Any:
        """Return result and detail of each check."""
        file = self.config_of(user or self._relay, project)
        done = run_command("check", "--json", *arguments, "--config-file", file)
        return {row["check"]: (row["result"], row["detail"]) for row in json.loads(done.stdout)}

    def start(self, name: str, action: str) -> str:
        """Run the workbook as a StackStorm action. Its with-items task calls ``action``."""
        place = self._folder / "packs" / "least" / "actions" / "workflows" / f"{name}.yaml"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(WORKBOOK).replace("NAME", name).replace("ACTION", action))
        about = {"pack": "least", "name": name, "entry_point": f"workflows/{name}.yaml"}
        parameters = {"workflow": {"type": "string", "default": "main"}}
        self.stackstorm.register_action(
            {"runner_type": "mistral-v2", "parameters": parameters, **about}
        )
        return str(self.request("POST", "/executions", {"action": f"least.{name}"})["id"])

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to StackStorm."""
        answer = requests.request(
            method,
            self.stackstorm.api_url + path,
            json=body,
            headers={"St2-Api-Key": self._key},
            timeout=30,
        )
        assert answer.ok, answer.text
        return answer.json()

    def ended(self, execution_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.stackstorm.executions.wait(execution_id, timeout=TIMEOUT)
        return found


@pytest.fixture(scope="module")
def users(keystone: Keystone) -> Keystone:
    for role in (ACT, RUN):
        keystone.create_role(role)
    for user, roles in {
        "least-relay": {"service": LIST, "a": ACT},
        "least-trustee": {"service": LIST},
        "least-relay-of-a": {"a": ACT},
        "least-runner-of-a": {"a": RUN},
        "least-runner-of-b": {"b": RUN},
    }.items():
        keystone.create_user(user)
        for project, role in roles.items():
            keystone.grant(role, user, project)
    return keystone


def started(keystone: Keystone, folder: Path, relay: str, mode: str) -> Iterator[Cloud]:
    with ExitStack() as stack:
        made = Cloud(folder, keystone, stack, relay, mode)
        made.start_relay()
        yield made


@pytest.fixture(scope="module")
def served(users: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Start a cloud whose relay has a role on project ``a``."""
    yield from started(users, tmp_path_factory.mktemp("served"), "least-relay", "service")


@pytest.fixture(scope="module")
def trusting(users: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Start a cloud whose relay acts with trusts, and has no role on any project but its own."""
    yield from started(users, tmp_path_factory.mktemp("trusting"), "least-trustee", "trust")


@pytest.fixture
def cloud(served: Cloud) -> Cloud:
    served.allow()
    return served


@pytest.fixture(params=["served", "trusting"])
def either(request: pytest.FixtureRequest) -> Cloud:
    found: Cloud = request.getfixturevalue(request.param)
    found.allow()
    return found


def test_documented_rules_are_those_that_check_asks_for() -> None:
    assert documented(LIST) == set(LISTING)
    assert documented(ACT) == set(ACTING)


def test_workflow_runs_with_the_documented_rules(either: Cloud) -> None:
    found = either.ended(either.start("succeeds", "core.noop"))
    assert found["status"] == "succeeded", found["result"]


def test_task_of_a_sub_workflow_runs_again(either: Cloud, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    first = either.ended(either.start("fails", f"core.local cmd='test -e {mended}'"))
    assert first["status"] == "failed"
    mended.touch()
    again = {"parameters": {"rerun_tasks": ["second.each"], "rerun_reset": ["second.each"]}}
    made = either.request("POST", f"/executions/{first['id']}/re_run", again)
    found = either.ended(made["id"])
    assert found["status"] == "succeeded", found["result"]


def test_workflow_is_cancelled(either: Cloud) -> None:
    execution_id = either.start("cancelled", "tests.job")

    def jobs() -> list[str]:
        return [
            child["id"]
            for child in either.stackstorm.executions.all()
            if child.get("parent") == execution_id
            and child["action"]["ref"] == "tests.job"
            and child["status"] == "running"
        ]

    eventually(lambda: len(jobs()) == 2, "both items run")
    either.request("DELETE", f"/executions/{execution_id}")
    assert either.ended(execution_id)["status"] == "canceled"
    eventually(lambda: jobs() == [], "the relay cancels the items")


def test_check_passes_with_the_documented_rules(cloud: Cloud) -> None:
    found = cloud.check("--project", "a")
    assert {name: result for name, (result, _) in found.items() if result != "ok"} == {}
    detail = found["policy"][1]
    assert "with the role admin it sees all projects" in detail
    assert detail.endswith("its user has a role on a, service")


def test_check_says_that_a_user_is_no_administrator(cloud: Cloud) -> None:
    found = cloud.check(user="least-relay-of-a", project="a")
    result, detail = found["policy"]
    assert result == "ok"
    assert f"without the role admin it sees project {cloud.keystone.project('a')} only" in detail


@pytest.mark.parametrize(
    ("role", "rule", "project"),
    [
        (LIST, "action_executions:list", "service"),
        (LIST, "executions:get", "service"),
        (ACT, "action_executions:update", "a"),
        (ACT, "executions:update", "a"),
        (ACT, "workflows:get", "a"),
    ],
)
def test_check_names_a_missing_rule(cloud: Cloud, role: str, rule: str, project: str) -> None:
    cloud.allow(less=[(role, rule)])
    result, detail = cloud.check("--project", "a")["policy"]
    assert result == "failed"
    assert f"in project {cloud.keystone.project(project)}: {rule}." in detail


def test_check_names_the_projects_without_a_role(cloud: Cloud) -> None:
    result, detail = cloud.check("--project", "b")["policy"]
    assert result == "failed"
    assert "has no role on a project 'b'. It has one on a, service." in detail

    client = cloud.client("least-runner-of-b", "b")
    text = "{version: '2.0', least.b: {tasks: {one: {action: st2.action ref='core.noop'}}}}"
    client.save_definition(text, "workflow")
    client.start_workflow("least.b", {})
    result, detail = eventually(
        lambda: (found := cloud.check()["project"])[0] == "failed" and found, "check reports it"
    )
    assert cloud.keystone.project("b") in detail
    assert "where the relay's user has no role" in detail


def test_probe_runs_in_the_named_project(cloud: Cloud) -> None:
    for named in ("a", cloud.keystone.project("a")):
        result, detail = cloud.check("--probe", "--project", named)["probe"]
        assert result == "failed"
        assert "403" in detail
    cloud.allow({"action_executions:create": ACT})
    result, detail = cloud.check("--probe", "--project", "a")["probe"]
    assert result == "ok", detail
    assert detail.endswith("in project a")


def test_probe_of_an_administrator_needs_a_project(cloud: Cloud) -> None:
    result, detail = cloud.check("--probe")["probe"]
    assert result == "failed"
    assert "name it with --project" in detail
