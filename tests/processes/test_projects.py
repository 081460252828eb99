"""Workflows of two projects at the same time, in a Mistral that asks a real keystone.

``ST2_MISTRAL_PROJECTS`` is the number of workflows in each project, and 50 in the long form.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import tenants
from support.cluster import services, venvs
from support.cluster.keystone_cluster import KeystoneCluster
from support.keystone.api import Keystone, password_of
from support.mistral_bench import JOB
from support.notified import Notified
from support.tenants import Tenant
from support.waiting import eventually

from st2actions_mistral.model.project import SERVICE, TRUST

KEY = "key-of-the-projects"

LONG = int(os.environ.get("ST2_MISTRAL_PROJECTS", "0"))
NUMBERS = {SERVICE: LONG or 10, TRUST: LONG or 4}
"""Workflows in each project, by the value of ``project_auth``."""

TIMEOUT = 300.0 + 20 * LONG

# The first test of a version creates its virtualenv.
pytestmark = pytest.mark.timeout(600 + 2 * TIMEOUT)


@pytest.fixture(scope="module")
def cluster(
    outside: services.Services,
    version: str,
    distribution: venvs.Distribution,
    working_folder: Path,
    keystone: Keystone,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[KeystoneCluster]:
    venv = venvs.base(version).copy(working_folder / f"projects-{version}")
    venv.pip("install", "--quiet", f"{distribution.wheel}[relay]")
    folder = tmp_path_factory.mktemp(f"projects-{version}-")
    with KeystoneCluster(version, venv, folder, keystone, context_key=KEY) as running:
        running.stackstorm.register_action(JOB)
        yield running


@pytest.fixture(scope="module")
def both(cluster: KeystoneCluster) -> list[Tenant]:
    """Return a user of each project, with definitions of the same names."""
    return [Tenant(cluster, project) for project in tenants.PROJECTS]


@pytest.fixture(scope="module")
def everybody(both: list[Tenant]) -> list[Tenant]:
    """Return all users so far. A test adds one."""
    return list(both)


@dataclass(frozen=True)
class Outage:
    """Workflows that were started before the relay was killed and while it was down."""

    main: dict[str, list[tuple[str, str]]]
    """Ids of workflows and their parents, by project."""
    lost: dict[str, str]
    """The workflow whose execution vanished before the relay saw it, by project."""


@pytest.fixture(scope="module", params=[SERVICE, TRUST])
def outage(
    request: pytest.FixtureRequest,
    cluster: KeystoneCluster,
    both: list[Tenant],
    tmp_path_factory: pytest.TempPathFactory,
) -> Outage:
    """Kill the relay while workflows run, and start it again when their executions have finished."""
    cluster.use(request.param)
    number = NUMBERS[request.param]
    main = tenants.start_all(both, number, tmp_path_factory.mktemp("markers"))
    parents = [parent for pairs in main.values() for _, parent in pairs]

    def finished() -> int:
        statuses = map(cluster.stackstorm.executions.status, parents)
        return sum(status == "succeeded" for status in statuses)

    eventually(lambda: finished() >= number // 2, "some workflows succeed", TIMEOUT)
    cluster.relay.kill()
    assert finished() < len(parents), "there is nothing left to do after the restart"
    lost = {}
    for tenant in both:
        lost[tenant.project], child = tenant.start_waiting()
        cluster.stackstorm.executions.remove(child["id"])
    eventually(lambda: not unfinished_children(cluster), "the executions finish without the relay")
    cluster.relay.start()
    return Outage(main, lost)


def test_workflows_stay_in_their_projects_when_the_relay_is_killed(
    cluster: KeystoneCluster, both: list[Tenant], outage: Outage
) -> None:
    ids = set()
    for tenant in both:
        assert len(outage.main[tenant.project]) == NUMBERS[cluster.project_auth]
        for workflow, parent in outage.main[tenant.project]:
            ids.add(workflow)
            ended = tenant.ended(workflow, TIMEOUT)
            assert (ended["state"], ended["project_id"]) == ("SUCCESS", tenant.project_id), ended
            assert tenant.output(ended) == {
                "project": tenant.project,
                "private": f"action of {tenant.project}",
                "below": f"sub-workflow of {tenant.project}",
            }
            found = cluster.stackstorm.executions.get(parent)
            assert found["result"]["output"] == {"private": f"action of {tenant.project}"}
            trusts = {"trust_id" in ids for ids in tenant.ids_of_children(workflow)}
            assert trusts == {cluster.project_auth == TRUST}
    rows = Counter(row.kind for row in cluster.rows() if row.root in ids)
    assert rows == {kind: len(ids) * number for kind, number in tenants.ROWS.items()}
    check_rows(cluster, both)


def test_lost_action_is_rescheduled_in_its_project(
    cluster: KeystoneCluster, both: list[Tenant], outage: Outage
) -> None:
    for tenant in both:
        workflow = outage.lost[tenant.project]
        child = tenant.child_of(workflow)
        assert child["context"]["mistral"]["project_id"] == tenant.project_id
        cluster.st2.finish(child["id"], "succeeded", {"output": "done"})
        assert tenant.ended(workflow, TIMEOUT)["state"] == "SUCCESS"
        rows = Counter(row.kind for row in cluster.rows() if row.root == workflow)
        assert rows == tenants.WAITING_ROWS
    check_rows(cluster, both)


def test_cancelled_workflow_stays_in_its_project(
    cluster: KeystoneCluster, both: list[Tenant], outage: Outage
) -> None:
    begun = {tenant: tenant.start_waiting() for tenant in both}
    for tenant, (workflow, _) in begun.items():
        tenant.mistral.change_state(workflow, "CANCELLED")
    for tenant, (workflow, child) in begun.items():
        cluster.stackstorm.executions.wait(child["id"], timeout=TIMEOUT)
        assert cluster.stackstorm.executions.status(child["id"]) == "canceled"
        action_id = child["context"]["mistral"]["action_execution_id"]
        mistral = tenant.mistral
        eventually(lambda m=mistral, a=action_id: m.get_action(a)["state"] != "RUNNING", "it is closed")
        rows = Counter(row.kind for row in cluster.rows() if row.root == workflow)
        assert rows == {"workflow": 1, "task": 1, "action": 1}
    check_rows(cluster, both)


def test_notifier_finishes_the_parents_of_all_projects(
    cluster: KeystoneCluster, everybody: list[Tenant], outage: Outage
) -> None:
    if cluster.project_auth == TRUST:
        # The relay's user has no role on it, and an administrator of Mistral 20 sees none of its tasks.
        cluster.keystone.create_project("c")
        cluster.keystone.create_user("user-of-c")
        cluster.keystone.grant("member", "user-of-c", "c")
        everybody.append(Tenant(cluster, "c"))
    notified = Notified(cluster, everybody)
    parents = {notified.run(tenant, "tests_ending"): tenant for tenant in everybody for _ in range(3)}
    for parent, tenant in parents.items():
        done = cluster.stackstorm.executions.wait(parent, timeout=TIMEOUT)
        assert (done["status"], done["result"]["state"]) == ("succeeded", "SUCCESS"), done
        assert done["result"]["output"] == {"private": f"action of {tenant.project}"}
        tasks = {task["name"]: task["result"] for task in done["result"]["tasks"]}
        assert tasks.keys() == {"private", "last"}
        assert tasks["private"]["result"] == {"value": f"action of {tenant.project}"}
        events = notified.events(parent, 6)
        assert {event["project_id"] for event in events} == {tenant.project_id}
        assert {event["parent_execution_id"] for event in events} == {parent}
    for parent in parents:
        eventually(lambda p=parent: notified.finished_by(p), "it is logged")
        assert notified.finished_by(parent) == ["notifier"]
    check_rows(cluster, everybody)


def test_end_in_one_project_does_not_finish_a_parent_of_another(
    cluster: KeystoneCluster, both: list[Tenant], everybody: list[Tenant], outage: Outage
) -> None:
    a, b = both
    notified = Notified(cluster, both)
    parent = notified.run(b, "tests_waiting")
    theirs = notified.workflow_of(parent)
    # They copy the environment that names it, with its signature.
    forged = notified.start(a, "tests_quick", cluster.stackstorm.executions.get(parent), parent_of=b)
    assert a.ended(forged, TIMEOUT)["state"] == "SUCCESS"
    events = notified.events_of(forged, 4)
    assert {event["parent_execution_id"] for event in events} == {None}
    assert cluster.stackstorm.executions.status(parent) == "running"
    cluster.st2.finish(b.child_of(theirs)["id"], "succeeded", {"output": "done"})
    done = cluster.stackstorm.executions.wait(parent, timeout=TIMEOUT)
    assert done["result"]["mistral"]["workflow_execution_id"] == theirs
    eventually(lambda: notified.finished_by(parent), "it is logged")
    assert notified.finished_by(parent) == ["notifier"]
    check_rows(cluster, everybody)


def test_notifier_tells_no_credential(cluster: KeystoneCluster, everybody: list[Tenant]) -> None:
    key = cluster.st2_settings.credential.api_key
    assert key is not None
    users = ["relay", "mistral", *(tenant.user for tenant in everybody)]
    told = cluster.processes["notifier"].log + str(cluster.stackstorm.trigger_instances())
    assert "WORKFLOW_SUCCEEDED" in told
    # All tokens of this keystone begin so.
    for secret in (key, KEY, "gAAAAA", *map(password_of, users)):
        assert secret not in told


def test_workflow_of_the_runner_stays_in_the_project_of_its_user(
    cluster: KeystoneCluster, both: list[Tenant], everybody: list[Tenant]
) -> None:
    """The runner of this StackStorm is a user of project a."""
    created = cluster.st2.create_execution("examples.mistral-basic", {"cmd": "echo here"})
    final: dict[str, Any] = cluster.stackstorm.executions.wait(created["id"], timeout=TIMEOUT)
    assert final["status"] == "succeeded", final["result"]
    both[0].started.append(final["context"]["mistral_workflow"]["execution_id"])
    check_rows(cluster, everybody)


def test_users_see_the_records_of_their_own_projects(
    cluster: KeystoneCluster, everybody: list[Tenant]
) -> None:
    rows = cluster.rows()
    assert len(rows) > 2 * sum(NUMBERS.values())
    for tenant in everybody:
        own = {row.id for row in rows if row.project_id == tenant.project_id}
        assert cluster.ids_seen_by(tenant.user, tenant.project) == own
    assert cluster.ids_seen_by("user-of-service", "service") == set()
    print(f"Mistral {cluster.version}: {sorted(cluster.rows_by_project().items())}")


def check_rows(cluster: KeystoneCluster, everybody: list[Tenant]) -> None:
    """Check that every row is in the project of the user who started its workflow."""
    owners = {workflow: tenant.project_id for tenant in everybody for workflow in tenant.started}
    rows = cluster.rows()
    assert {row.root for row in rows} == owners.keys()
    assert [row for row in rows if row.project_id != owners[row.root]] == []


def unfinished_children(cluster: KeystoneCluster) -> list[dict[str, Any]]:
    return [
        execution
        for execution in cluster.stackstorm.executions.all()
        if execution["action"]["ref"] != "tests.job"
        and execution["status"] not in ("succeeded", "failed")
    ]
