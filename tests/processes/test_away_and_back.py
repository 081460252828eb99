"""Mistral's broker and its database are away for a while, and come back at the same place."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import services
import venvs
from cluster import Cluster
from e2e.bench import Bench, eventually

pytestmark = pytest.mark.timeout(900)

# Seconds; a minute in the long form.
AWAY = float(os.environ.get("ST2_MISTRAL_AWAY", "8"))
PATIENCE = 120 + 2 * AWAY
MANY = 20


@pytest.fixture(scope="module")
def behind_doors(
    outside: services.Services,
    distribution: venvs.Distribution,
    working_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """The newest Mistral, whose broker and database can be shut off."""
    version = venvs.versions()[0]
    venv = venvs.base(version).copy(working_folder / f"doors-{version}")
    venv.pip("install", "--quiet", f"{distribution.wheel}[relay]")
    folder = tmp_path_factory.mktemp(f"doors-{version}-")
    with Cluster(version, venv, folder, doors=True) as running:
        yield running


@pytest.mark.parametrize("part", ["broker", "database"])
def test_it_is_away_and_back(behind_doors: Cluster, part: str) -> None:
    """Nobody helps: the processes are not restarted."""
    cluster = behind_doors
    bench = Bench(cluster)  # type: ignore[arg-type]
    workflow = bench.workbook(
        f"""
        each:
          with-items: i in <% range({MANY}) %>
          action: st2.action
          input: {{ref: sandbox.sleep, parameters: {{seconds: 4}}}}
          on-success: after
        after: {{action: st2.action, input: {{ref: core.noop}}}}
        """
    )
    started = bench.start(workflow)

    def children() -> list[str]:
        return [
            child["context"]["mistral"]["action_execution_id"]
            for child in cluster.stackstorm.executions.all()
            if child["context"].get("mistral", {}).get("workflow_execution_id") == started
        ]

    eventually(lambda: len(children()) == MANY, "the children run")
    cluster.doors[part].shut()
    time.sleep(AWAY)
    cluster.doors[part].open()
    opened = time.monotonic()
    run = bench.wait(started, PATIENCE)
    print(f"{part}: all done {time.monotonic() - opened:.1f} s after it was back")
    assert run.execution["state"] == "SUCCESS"
    assert [action["state"] for action in run.actions] == ["SUCCESS"] * (MANY + 1)
    assert Counter(children()) == dict.fromkeys((action["id"] for action in run.actions), 1)
    assert cluster.relay.poll() is None
