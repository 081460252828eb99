"""One relay for the workflows of several projects, with a real Mistral and a real keystone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.cloud import Cloud, Relay
from support.keystone.api import Keystone
from support.keystone.cloud import RELAY_ROLE
from support.waiting import eventually

from st2actions_mistral.client.mistral import MistralClient

WORKFLOWS = """\
version: '2.0'
three:
  tasks:
    first: {action: st2.action ref='core.noop', on-success: second}
    second: {action: std.noop, on-success: third}
    third: {action: st2.action ref='core.noop'}
waiting:
  tasks:
    wait: {action: st2.action, input: {ref: tests.job}}
"""

REMEDY = "Give the relay's user a role on the project, such as member, but not admin."


@pytest.fixture(scope="module")
def cloud(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with ExitStack() as stack:
        yield Cloud(tmp_path_factory.mktemp("projects"), keystone, stack)


class Tenant:
    """A project of its own, and an ordinary user of it."""

    def __init__(self, cloud: Cloud) -> None:
        self.name = f"tenant-{uuid.uuid4().hex}"
        self.id = cloud.keystone.create_project(self.name)
        cloud.keystone.create_user(self.name)
        cloud.keystone.grant("member", self.name, self.name)
        self.mistral: MistralClient = cloud.client(self.name, self.name)
        self.mistral.save_definition(WORKFLOWS, "workflow", validate=False)
        self.shown = f"project {self.id!r}"
        """The name of the project in reports of the relay."""

    def start(self, workflow: str = "three") -> str:
        return str(self.mistral.start_workflow(workflow, {})["id"])

    def check_end(self, workflow: str) -> None:
        """Wait until a workflow succeeds, and check that all of it is in the project."""
        eventually(lambda: self.mistral.execution_state(workflow) == "SUCCESS", "the workflow succeeds")
        tasks: list[dict[str, Any]] = self.mistral.tasks(workflow)
        assert {task["name"] for task in tasks} == {"first", "second", "third"}
        actions = [row for task in tasks for row in self.mistral.attempts(task["id"])]
        assert [row["project_id"] for row in tasks + actions] == [self.id] * 6

    def action_state(self, action: str) -> str:
        found = self.mistral.get_action(action)
        assert found is not None
        assert found["project_id"] == self.id
        return str(found["state"])


@pytest.fixture
def tenant(cloud: Cloud) -> Tenant:
    return Tenant(cloud)


@pytest.fixture
def relay(cloud: Cloud) -> Iterator[Relay]:
    """Return a relay, not started, with a user of its own that has only the role for listing."""
    user = f"relay-{uuid.uuid4().hex}"
    cloud.keystone.create_user(user)
    cloud.keystone.grant("admin", user, "service")
    made = cloud.relay(user)
    yield made
    made.stop()


def test_one_relay_completes_the_workflows_of_all_projects(cloud: Cloud, relay: Relay) -> None:
    """It lists as an administrator, and acts as an ordinary user of each project."""
    tenants = [Tenant(cloud), Tenant(cloud)]
    for tenant in tenants:
        cloud.keystone.grant(RELAY_ROLE, relay.user, tenant.name)
    begun = [(tenant, tenant.start()) for tenant in tenants]
    relay.start()
    for tenant, workflow in begun:
        tenant.check_end(workflow)


def test_project_without_a_role_waits_until_it_is_given(
    cloud: Cloud, relay: Relay, tenant: Tenant
) -> None:
    other = Tenant(cloud)
    cloud.keystone.grant(RELAY_ROLE, relay.user, other.name)
    first, second = other.start(), tenant.start()
    relay.start()
    other.check_end(first)
    eventually(lambda: tenant.shown in relay.failing(), "the relay reports the project")
    assert relay.log.count(f"Nothing is completed, rescheduled or cancelled in {tenant.shown}") == 1
    assert REMEDY in relay.failing()[tenant.shown]["error"]
    assert "st2_relay_closed_projects 1.0" in relay.metrics()
    [action] = tenant.mistral.running_actions()
    assert action["project_id"] == tenant.id

    cloud.keystone.grant(RELAY_ROLE, relay.user, tenant.name)
    tenant.check_end(second)
    eventually(lambda: relay.failing() == {}, "nothing fails any more")
    assert "st2_relay_closed_projects 0.0" in relay.metrics()

    # The role is taken away: keystone revokes the tokens, which Mistral notices later.
    session = cloud.keystone.session(relay.user, tenant.name)
    assert cloud.accepts(session)
    cloud.keystone.revoke(RELAY_ROLE, relay.user, tenant.name)
    eventually(lambda: not cloud.accepts(session), "Mistral refuses the tokens")
    third = tenant.start()
    eventually(lambda: tenant.shown in relay.failing(), "the relay reports the project again")
    cloud.keystone.grant(RELAY_ROLE, relay.user, tenant.name)
    tenant.check_end(third)


def test_project_where_the_relay_is_an_administrator_is_refused(
    cloud: Cloud, relay: Relay, tenant: Tenant
) -> None:
    for role in (RELAY_ROLE, "admin"):
        cloud.keystone.grant(role, relay.user, tenant.name)
    workflow = tenant.start()
    relay.start()
    eventually(lambda: tenant.shown in relay.failing(), "the relay reports the project")
    assert "has the role admin" in relay.failing()[tenant.shown]["error"]
    assert tenant.mistral.execution_state(workflow) == "RUNNING"
    cloud.keystone.revoke("admin", relay.user, tenant.name)
    tenant.check_end(workflow)


def test_plain_member_completes_the_workflows_of_its_project(cloud: Cloud, tenant: Tenant) -> None:
    workflow = tenant.start()
    relay = cloud.relay(tenant.name, tenant.name)
    relay.start()
    tenant.check_end(workflow)
    relay.stop()


def test_nothing_of_a_closed_project_is_changed(cloud: Cloud, relay: Relay, tenant: Tenant) -> None:
    """A finished execution, a lost action and a cancelled workflow wait, and the commands say why."""
    executions = cloud.stackstorm.executions
    started = [tenant.start("waiting") for _ in range(3)]
    children = [cloud.child_of(workflow) for workflow in started]
    actions = [child["context"]["mistral"]["action_execution_id"] for child in children]
    finished, lost, _ = actions
    execution, gone, running = (child["id"] for child in children)
    cloud.st2.finish(execution, "succeeded", {"output": "done"})
    executions.remove(gone)
    tenant.mistral.change_state(started[2], "CANCELLED")
    relay.start()
    # Every resync refuses all three of them.
    eventually(lambda: relay.failing().get(tenant.shown, {}).get("times", 0) >= 15, "five resyncs")
    for action in actions:
        assert tenant.action_state(action) == "RUNNING"
    assert cloud.children_of(started[1]) == []
    assert executions.status(running) == "running"
    assert relay.log.count("Nothing is completed, rescheduled or cancelled in") == 1
    assert REMEDY in relay.log
    assert list(relay.failing()) == [tenant.shown]

    done = relay.run("status")
    assert done.returncode == 1
    assert "3 pending actions are not completed" in done.stdout
    assert done.stdout.count(REMEDY) == 1
    rows = {row["action_execution_id"]: row for row in json.loads(relay.run("status", "--json").stdout)}
    assert rows.keys() == set(actions)
    for row in rows.values():
        assert (row["project_id"], row["no_access"]) == (tenant.id, True)
        assert row["next"].startswith("nothing: it belongs to project")
        assert row["error"].endswith(REMEDY)
    check = check_of_projects(relay)
    assert check["result"] == "failed"
    assert REMEDY in check["detail"]
    done = relay.run("repair", finished)
    assert done.returncode == 1
    assert "it belongs to project" in done.stderr

    # With a role on the project all three are completed, by the next resync.
    cloud.keystone.grant(RELAY_ROLE, relay.user, tenant.name)
    eventually(lambda: tenant.action_state(finished) == "SUCCESS", "the result is delivered")
    eventually(lambda: executions.status(running) == "canceled", "the orphaned execution is cancelled")
    child = cloud.child_of(started[1])
    cloud.st2.finish(child["id"], "succeeded", {})
    eventually(lambda: tenant.action_state(lost) == "SUCCESS", "its result is delivered")
    assert check_of_projects(relay)["result"] == "ok"


def check_of_projects(relay: Relay) -> dict[str, Any]:
    """Return what ``st2-mistral check`` says about projects."""
    checks = json.loads(relay.run("check", "--json").stdout)
    (found,) = [check for check in checks if check["check"] == "project"]
    return found
