"""A relay whose token is for one project, with actions of another one in a real Mistral.

The sandbox's Mistral has no authentication: it accepts every token and files all records under the
project ``<default-project>``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_httpserver import HTTPServer
from support.command_line import run_command
from support.identity import Identity, keystone_options
from support.mistral_bench import Bench, new_bench
from support.ports import own_port
from support.waiting import eventually

from st2_mistral_sandbox.process import ChildProcess

RECORDS = "<default-project>"
REMEDY = "Give the relay's user a role on the project, such as member, but not admin."


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox without a relay."""
    yield from new_bench(tmp_path_factory.mktemp("projects"), relay=False)


class Installation:
    """A relay with a token of one project, and the commands with its configuration."""

    def __init__(self, bench: Bench, folder: Path, identity: Identity) -> None:
        self.port = own_port()
        self.config = folder / "relay.conf"
        self.config.touch(mode=0o600)
        options = (
            f"health_port = {self.port}\nresync_interval = 0.5\nreschedule_after = 1\nlost_after = 2\n"
        )
        # The relay's group is the last one of the file.
        text = Path(bench.sandbox.relay.args[-1]).read_text(encoding="utf-8")
        self.config.write_text(f"{text}\n{options}{keystone_options(identity.url)}", encoding="utf-8")
        args = [*bench.sandbox.relay.args[:-1], str(self.config)]
        self.relay = ChildProcess("The relay", args, folder / "relay.log")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, "--config-file", self.config)

    def log(self) -> str:
        return "\n".join(self.relay.tail(10_000))

    def failing(self) -> Any:
        return requests.get(f"http://127.0.0.1:{self.port}/failing", timeout=5).json()


@pytest.fixture
def identity(httpserver: HTTPServer) -> Identity:
    return Identity(httpserver, project="tenant")


@pytest.fixture
def installed(quiet: Bench, identity: Identity, tmp_path: Path) -> Iterator[Installation]:
    made = Installation(quiet, tmp_path, identity)
    yield made
    made.relay.stop()


def pending_action(bench: Bench) -> tuple[str, str, str]:
    """Start a workflow whose task waits for an execution; ids of workflow, action and execution."""
    workflow = bench.start(bench.workbook("wait: {action: st2.action, input: {ref: tests.job}}"))

    def child() -> Any:
        for execution in bench.stackstorm.executions.all():
            ids = execution["context"].get("mistral", {})
            if ids.get("workflow_execution_id") == workflow and execution["status"] == "running":
                return execution
        return None

    found = eventually(child, "the execution runs")
    return workflow, found["context"]["mistral"]["action_execution_id"], found["id"]


@pytest.mark.parametrize("project", ["tenant", None])
def test_nothing_of_another_project_is_completed(
    quiet: Bench, installed: Installation, identity: Identity, project: str | None
) -> None:
    identity.project = project
    _, finished, execution = pending_action(quiet)
    _, lost, gone = pending_action(quiet)
    cancelled, orphaned, running = pending_action(quiet)
    quiet.st2.finish(execution, "succeeded", {"output": "done"})
    quiet.stackstorm.executions.remove(gone)
    quiet.mistral.change_state(cancelled, "CANCELLED")
    installed.relay.start()
    key = f"project {RECORDS!r}"
    # Every resync refuses all three of them.
    eventually(lambda: f"in {key}." in installed.log(), "the relay reports the project")
    eventually(lambda: installed.failing()[key]["times"] >= 15, "five resyncs")

    for action in (finished, lost, orphaned):
        found = quiet.mistral.get_action(action)
        assert found is not None
        assert (found["state"], found["project_id"]) == ("RUNNING", RECORDS)
    assert quiet.children_of(lost) == []
    assert quiet.stackstorm.executions.get(running)["status"] == "running"

    assert installed.log().count("Nothing is completed, rescheduled or cancelled in") == 1
    assert REMEDY in installed.log()
    assert list(installed.failing()) == [key]
    assert REMEDY in installed.failing()[key]["error"]

    done = installed.run("status")
    assert done.returncode == 1
    assert "3 pending actions are not completed" in done.stdout
    assert done.stdout.count(REMEDY) == 1
    done = installed.run("status", "--json")
    rows = {row["action_execution_id"]: row for row in json.loads(done.stdout)}
    assert rows.keys() == {finished, lost, orphaned}
    for row in rows.values():
        assert (row["project_id"], row["foreign"]) == (RECORDS, True)
        assert row["next"].startswith("nothing: it belongs to project")
        assert row["error"].endswith(REMEDY)

    done = installed.run("check", "--json")
    assert done.returncode == 1
    checks = {row["check"]: row for row in json.loads(done.stdout)}
    assert checks["project"]["result"] == "failed"
    expected = REMEDY if project else "set project_name or project_id"
    assert expected in checks["project"]["detail"]

    done = installed.run("repair", finished)
    assert done.returncode == 1
    assert "it belongs to project" in done.stderr

    # With a role on the records' project all three are completed, by the next resync.
    identity.roles[RECORDS] = ["member"]
    eventually(lambda: quiet.action_state(finished) == "SUCCESS", "the result is delivered")
    eventually(lambda: quiet.children_of(lost), "the lost action is rescheduled")
    eventually(
        lambda: quiet.stackstorm.executions.get(running)["status"] == "canceled",
        "the orphaned execution is cancelled",
    )
    for child in quiet.children_of(lost):
        quiet.st2.finish(child["id"], "succeeded", {})
    eventually(lambda: quiet.action_state(lost) == "SUCCESS", "its result is delivered")
    done = installed.run("check", "--json")
    checks = {row["check"]: row for row in json.loads(done.stdout)}
    assert checks["project"]["result"] == ("ok" if project else "failed")
