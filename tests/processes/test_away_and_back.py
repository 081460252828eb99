"""Mistral's broker, its database and its own processes are killed and restarted."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cluster import local_servers, services, venvs
from support.cluster.mistral_cluster import EXECUTORS, Cluster
from support.mistral_bench import Bench
from support.waiting import eventually
from support.workflow_children import children_of

pytestmark = pytest.mark.timeout(900)

# Seconds between a kill and the restart.
DOWNTIME = float(os.environ.get("ST2_MISTRAL_AWAY", "4"))
TIMEOUT = 300 + 2 * DOWNTIME
MANY = 20

WORKFLOW = f"""
each:
  with-items: i in <% range({MANY}) %>
  action: st2.action
  input: {{ref: sandbox.sleep, parameters: {{seconds: 4}}}}
  on-success: after
after: {{action: st2.action, input: {{ref: core.noop}}}}
"""


@pytest.fixture(scope="module")
def cluster(
    outside: services.Services,
    distribution: venvs.Distribution,
    working_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """Start the newest Mistral with a separate broker and database."""
    absent = local_servers.missing()
    assert not absent, (
        f"Not installed: {', '.join(absent)}. These tests kill a separate RabbitMQ and MariaDB. Install"
        " Debian's packages rabbitmq-server and mariadb-server."
    )
    version = venvs.versions()[0]
    venv = venvs.base(version).copy(working_folder / f"own-{version}")
    venv.pip("install", "--quiet", f"{distribution.wheel}[relay]")
    folder = tmp_path_factory.mktemp(f"own-{version}-")
    with Cluster(version, venv, folder, own=True) as running:
        yield running


class Workflow:
    """A workflow that runs while parts of the cluster are killed."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.bench = Bench(cluster)
        self.id = self.bench.start(self.bench.workbook(WORKFLOW))

    def scheduled(self) -> list[str]:
        """Return the action execution ids of the executions in StackStorm."""
        return [
            child["context"]["mistral"]["action_execution_id"]
            for child in children_of(self.cluster.stackstorm, self.id)
        ]

    def running(self) -> list[dict[str, Any]]:
        """Return the actions that Mistral has sent to executors."""
        tasks = self.bench.mistral.tasks(self.id)
        return [a for task in tasks for a in self.bench.actions(task["id"]) if a["state"] == "RUNNING"]

    def check_success(self, restarted: str) -> None:
        """Wait for the end, and check that every action ran exactly once."""
        begun = time.monotonic()
        run = self.bench.wait(self.id, TIMEOUT)
        print(f"{restarted}: all done {time.monotonic() - begun:.1f} s after the restart")
        assert run.execution["state"] == "SUCCESS"
        assert [action["state"] for action in run.actions] == ["SUCCESS"] * (MANY + 1)
        assert Counter(self.scheduled()) == dict.fromkeys((action["id"] for action in run.actions), 1)
        assert self.cluster.relay.poll() is None


def test_actions_lost_with_the_broker_are_rescheduled(cluster: Cluster) -> None:
    """The executions of one workflow run, and all actions of another one wait in the broker."""
    runs = Workflow(cluster)
    eventually(lambda: len(runs.scheduled()) == MANY, "the executions run")
    for executor in cluster.executors:
        executor.kill()
    waits = Workflow(cluster)
    eventually(lambda: len(waits.running()) == MANY, "the actions are sent")
    # Mistral records an action before it sends it.
    time.sleep(2)
    assert waits.scheduled() == []
    lost = {action["id"] for action in waits.running()}
    cluster.servers["broker"].kill()
    time.sleep(DOWNTIME)
    cluster.servers["broker"].start()
    start(cluster, EXECUTORS)
    runs.check_success("broker")
    waits.check_success("broker without its messages")
    assert not lost & (cluster.ran(EXECUTORS[0], "St2Action") | cluster.ran(EXECUTORS[1], "St2Action"))
    log = cluster.relay.log
    assert {id_ for id_ in lost if f"runs for action execution {id_}, which" in log} == lost


def test_workflow_survives_a_kill_of_the_database(cluster: Cluster) -> None:
    runs = Workflow(cluster)
    eventually(lambda: len(runs.scheduled()) == MANY, "the executions run")
    cluster.servers["database"].kill()
    time.sleep(DOWNTIME)
    cluster.servers["database"].start()
    runs.check_success("database")


def test_workflow_survives_a_kill_of_mistral(cluster: Cluster) -> None:
    """All processes of Mistral are down while the executions finish."""
    services = ("api", "engine", "notifier", *EXECUTORS)
    runs = Workflow(cluster)
    eventually(lambda: len(runs.scheduled()) == MANY, "the executions run")
    for name in services:
        cluster.processes[name].kill()
    time.sleep(DOWNTIME)
    start(cluster, services)
    runs.check_success("Mistral")


def start(cluster: Cluster, names: tuple[str, ...]) -> None:
    for name in names:
        cluster.processes[name].start()
    cluster.wait_until_ready()
