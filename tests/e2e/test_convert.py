"""Workbooks of 2014, converted with ``st2-mistral convert`` and run in today's Mistral."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command_line import run_command
from support.mistral_bench import Bench, Run, new_bench
from support.waiting import eventually

OF_2014 = Path(__file__).parents[1] / "data" / "2014"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox whose replica set is not upgraded yet."""
    yield from new_bench(tmp_path_factory.mktemp("convert"))


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Copy a workbook of 2014."""
    return Path(shutil.copy(OF_2014 / f"{request.param}.yaml", tmp_path))


def convert(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return run_command("convert", *words)


def run(bench: Bench, file: Path, workflow: str, **given: Any) -> Run:
    """Convert a file as its user does, and run its workflow."""
    convert("-w", file)
    assert bench.mistral.validate(file.read_text()) is None
    bench.mistral.save_definition(file.read_text())
    return bench.run(workflow, given, parent=bench.parent())


@pytest.mark.parametrize("file", ["rolling-upgrade"], indirect=True)
def test_converted_rolling_upgrade_runs(bench: Bench, file: Path) -> None:
    assert convert("-w", file).returncode == 1
    bench.mistral.save_definition(file.read_text())
    parent = bench.parent()
    given = {"primary": "mongo1", "members": ["mongo1", "mongo2", "mongo3"], "duration": 2}
    done = bench.run("mongodb.rolling-upgrade.main", given, parent=parent)
    assert done.execution["state"] == "SUCCESS", done.execution
    assert "callback-on-error" not in done.tasks

    def finished() -> Any:
        found = bench.st2.get_execution(parent["id"])
        return found if found and found["status"] != "running" else None

    found = eventually(finished, "the parent finishes")
    assert found["status"] == "succeeded", found["result"]
    assert found["result"]["output"] == "Replica set upgraded. Promoted mongo2 to primary."
    replica_set = bench.stackstorm.replica_set
    assert replica_set.primary == "mongo2"
    assert {member["version"] for member in replica_set.members()} == {"7.0"}


@pytest.mark.parametrize("file", ["reverse"], indirect=True)
def test_converted_reverse_workflow_runs(bench: Bench, file: Path) -> None:
    convert("-w", file)
    assert bench.mistral.validate(file.read_text()) is None
    bench.mistral.save_definition(file.read_text())
    started = bench.mistral.start_workflow(
        "tests.reverse-2014.main", {"name": "Ada"}, task_name="report"
    )
    done = bench.wait(started["id"])
    assert done.execution["state"] == "SUCCESS", done.execution
    output = json.loads(done.execution["output"])
    assert (output["greeting"], output["answer"]) == ("Hello Ada!", "Ada?")
    assert done.result("report") == "Hello Ada! Ada?"


# Results of Python actions, and paths that changed.
ELECTED = """\
version: '2.0'
name: tests.elected-2014
actions:
  elect:
    base: st2.action
    base-parameters:
      ref: mongodb.elect-primary
      parameters: {members: $.members}
    parameters: [members]
    output: {candidate: $.candidate}
workflows:
  main:
    type: direct
    input: [hosts, times]
    output:
      first: $.task.elect.first
      second: $.second
      workflow: $.__execution.id
      env: $.__env.word
    tasks:
      elect:
        action: elect
        input: {members: '$.hosts.name'}
        publish: {first: $.candidate}
        policies:
          retry: count={$.times} delay=1
        on-success: [again]
      again:
        action: st2.action
        input:
          ref: mongodb.elect-primary
          parameters: {members: ['$.hosts.name[0]', '$.hosts.name[1]', '$.hosts.name[2]']}
        publish: {second: $.candidate}
        policies:
"""


def test_converted_paths_resolve(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "elected.yaml"
    file.write_text(ELECTED)
    assert convert("-w", file).returncode == 1
    assert bench.mistral.validate(file.read_text()) is None
    bench.mistral.save_definition(file.read_text())
    given = {"hosts": [{"name": f"mongo{n}"} for n in (1, 2, 3)], "times": 1}
    started = bench.mistral.start_workflow("tests.elected-2014.main", given, env={"word": "hello"})
    done = bench.wait(started["id"])
    assert done.execution["state"] == "SUCCESS", done.execution
    output = json.loads(done.execution["output"])
    assert output["first"] == output["second"]
    assert output["first"].startswith("mongo")
    assert (output["workflow"], output["env"]) == (done.execution["id"], "hello")


@pytest.mark.parametrize("file", ["with-items"], indirect=True)
def test_converted_with_items_runs(bench: Bench, file: Path) -> None:
    hosts = [{"name": "a", "up": True}, {"name": "b", "up": False}, {"name": "c", "up": True}]
    done = run(bench, file, "tests.with-items-2014.main", hosts=hosts, tries=1, delay=1)
    assert done.execution["state"] == "SUCCESS", done.execution
    assert done.result("done") == ["a\none\ntwo", "c\none\ntwo"]
    assert "none" not in done.tasks


@pytest.mark.parametrize("file", ["ad-hoc"], indirect=True)
def test_converted_ad_hoc_actions_run(bench: Bench, file: Path) -> None:
    done = run(bench, file, "tests.ad-hoc-2014.main", name="Ada")
    assert done.execution["state"] == "SUCCESS", done.execution
    assert json.loads(done.execution["output"])["greeting"] == "Hello Ada"
    assert json.loads(done.tasks["second"]["published"]) == {"said": "Hello Ada"}
