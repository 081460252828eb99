"""Mistral's broker, its database and its own processes are killed, and started again."""

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

pytestmark = pytest.mark.timeout(900)

# Seconds between the end and the next start; a minute in the long form.
AWAY = float(os.environ.get("ST2_MISTRAL_AWAY", "4"))
TIMEOUT = 300 + 2 * AWAY
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
    """Start the newest Mistral, with a broker and a database of its own."""
    absent = local_servers.missing()
    assert not absent, (
        f"Not on this machine: {', '.join(absent)}. These tests kill a RabbitMQ and a MariaDB of their"
        " own; Debian's packages are rabbitmq-server and mariadb-server."
    )
    version = venvs.versions()[0]
    venv = venvs.base(version).copy(working_folder / f"own-{version}")
    venv.pip("install", "--quiet", f"{distribution.wheel}[relay]")
    folder = tmp_path_factory.mktemp(f"own-{version}-")
    with Cluster(version, venv, folder, own=True) as running:
        yield running


class Killed:
    """A workflow in a cluster of which parts are killed meanwhile."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.bench = Bench(cluster)  # type: ignore[arg-type]
        self.id = self.bench.start(self.bench.workbook(WORKFLOW))

    def children(self) -> list[str]:
        """Return the actions of its child executions."""
        return [
            child["context"]["mistral"]["action_execution_id"]
            for child in self.cluster.stackstorm.executions.all()
            if child["context"].get("mistral", {}).get("workflow_execution_id") == self.id
        ]

    def running(self) -> list[dict[str, Any]]:
        """Its actions that Mistral has handed out."""
        tasks = self.bench.mistral.tasks(self.id)
        return [a for task in tasks for a in self.bench.actions(task["id"]) if a["state"] == "RUNNING"]

    def ends_well(self, what: str) -> None:
        """Everything is done, and once; nobody has helped."""
        begun = time.monotonic()
        run = self.bench.wait(self.id, TIMEOUT)
        print(f"{what}: all done {time.monotonic() - begun:.1f} s after it was back")
        assert run.execution["state"] == "SUCCESS"
        assert [action["state"] for action in run.actions] == ["SUCCESS"] * (MANY + 1)
        assert Counter(self.children()) == dict.fromkeys((action["id"] for action in run.actions), 1)
        assert self.cluster.relay.poll() is None


def test_the_broker_is_killed_and_what_was_in_it_is_lost(cluster: Cluster) -> None:
    """Some children run; of another workflow all actions wait in the broker for executors."""
    runs = Killed(cluster)
    eventually(lambda: len(runs.children()) == MANY, "the children run")
    for executor in cluster.executors:
        executor.kill()
    waits = Killed(cluster)
    eventually(lambda: len(waits.running()) == MANY, "the actions are handed out")
    # Mistral notes that it does before it does.
    time.sleep(2)
    assert waits.children() == []
    lost = {action["id"] for action in waits.running()}
    cluster.servers["broker"].kill()
    time.sleep(AWAY)
    cluster.servers["broker"].start()
    start(cluster, EXECUTORS)
    runs.ends_well("broker")
    waits.ends_well("broker, with all that was in it")
    assert not lost & (cluster.ran(EXECUTORS[0], "St2Action") | cluster.ran(EXECUTORS[1], "St2Action"))
    log = cluster.relay.log
    assert {id_ for id_ in lost if f"runs for action execution {id_}, which" in log} == lost


def test_the_database_is_killed(cluster: Cluster) -> None:
    runs = Killed(cluster)
    eventually(lambda: len(runs.children()) == MANY, "the children run")
    cluster.servers["database"].kill()
    time.sleep(AWAY)
    cluster.servers["database"].start()
    runs.ends_well("database")


def test_mistral_is_killed(cluster: Cluster) -> None:
    """All of its processes; the children end meanwhile."""
    services = ("api", "engine", "notifier", *EXECUTORS)
    runs = Killed(cluster)
    eventually(lambda: len(runs.children()) == MANY, "the children run")
    for name in services:
        cluster.processes[name].kill()
    time.sleep(AWAY)
    start(cluster, services)
    runs.ends_well("Mistral")


def start(cluster: Cluster, names: tuple[str, ...]) -> None:
    for name in names:
        cluster.processes[name].start()
    cluster.wait_until_ready()
