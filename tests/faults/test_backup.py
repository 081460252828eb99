"""StackStorm is restored from a backup.

Executions created after the backup are gone, and executions that finished after it run again.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.mistral_bench import JOB, Bench
from support.resync_watch import ResyncWatch
from support.waiting import eventually

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import RunResult, StackStorm
from st2_mistral_sandbox.stackstorm.store import Execution
from st2actions_mistral.client.settings import Credential, St2Settings

KEY = "of-the-backup-too"
# More than reschedule_after: an action is rescheduled long before another one is declared lost.
LOST_AFTER = 6
TASK = "job: {action: st2.action, input: {ref: tests.job}}"


class World:
    """A Mistral with its relay, and a StackStorm that can be restored."""

    def __init__(self, stackstorm: StackStorm) -> None:
        self.stackstorm = stackstorm
        self.bench: Bench
        self.resyncs: ResyncWatch

    def job(self) -> tuple[str, dict[str, Any]]:
        """Start a workflow, and return its id and its execution, which runs until it is finished."""
        workflow = self.bench.start(self.bench.workbook(TASK))

        def running() -> dict[str, Any] | None:
            for child in self.stackstorm.executions.all():
                ids = child["context"].get("mistral", {})
                if ids.get("workflow_execution_id") == workflow and child["status"] == "running":
                    return child
            return None

        return workflow, eventually(running, "the execution runs")

    def finish(self, child: dict[str, Any], output: str, status: str = "succeeded") -> None:
        self.bench.st2.finish(child["id"], status, {"output": output})

    def outcome(self, workflow: str) -> tuple[str, str]:
        """Wait for a workflow, and return its state and its output."""
        run = self.bench.wait(workflow)
        return run.execution["state"], run.result("job").get("output")

    def backup(self) -> list[Execution]:
        return copy.deepcopy(self.stackstorm.executions.objects())

    def restore(self, backup: list[Execution]) -> None:
        """Stop StackStorm, and start one with the executions of the backup at the same port."""
        self.stackstorm.stop()
        self.stackstorm = stackstorm(urlsplit(self.stackstorm.base_url).port or 0, backup)
        self.stackstorm.start()

    def configure(self, options: str) -> None:
        """Add options for the next start of the relay."""
        config = Path(self.bench.sandbox.relay.args[-1])
        config.write_text(f"{config.read_text()}\n{options}\n")


def stackstorm(port: int = 0, executions: list[Execution] | None = None) -> StackStorm:
    made = StackStorm(port=port)
    made.create_api_key(KEY)
    made.register_runner("tests-async", lambda request: RunResult("running", {"note": "started"}))
    made.register_action(JOB)
    for execution in executions or ():
        made.executions.add(execution, publish=False)
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(stackstorm())
    made.stackstorm.start()
    try:
        st2 = St2Settings(made.stackstorm.api_url, Credential(api_key=KEY))
        options = f"resync_interval = 0.5\nreschedule_after = 3\nlost_after = {LOST_AFTER}"
        folder = tmp_path_factory.mktemp("backup")
        with (
            Sandbox(folder, st2=st2, relay=False, relay_options=options) as sandbox,
            ResyncWatch(sandbox) as resyncs,
        ):
            made.bench = Bench(sandbox)
            made.resyncs = resyncs
            yield made
    finally:
        made.stackstorm.stop()


def test_restore_while_the_relay_runs(world: World) -> None:
    before, child = world.job()
    world.finish(child, "before")
    assert world.outcome(before) == ("SUCCESS", "before")
    again, again_child = world.job()
    waits, waits_child = world.job()
    backup = world.backup()
    world.finish(again_child, "first")
    assert world.outcome(again) == ("SUCCESS", "first")
    after, child = world.job()
    world.finish(child, "after")
    assert world.outcome(after) == ("SUCCESS", "after")
    gone, gone_child = world.job()
    # The relay then knows the execution that is about to vanish.
    world.resyncs.wait_for_resync()

    world.restore(backup)
    restored = time.monotonic()
    world.finish(waits_child, "at last")
    assert world.outcome(waits) == ("SUCCESS", "at last")
    run = world.bench.wait(gone)
    assert time.monotonic() - restored > LOST_AFTER - 1
    assert run.execution["state"] == "ERROR"
    error = run.result("job")["error"]
    assert error == f"StackStorm does not know its execution {gone_child['id']} any more."
    # Completed actions do not change, and the execution that runs again is cancelled.
    assert world.stackstorm.executions.wait(again_child["id"])["status"] == "canceled"
    world.resyncs.wait_for_resync()
    assert world.outcome(before) == ("SUCCESS", "before")
    assert world.outcome(again) == ("SUCCESS", "first")
    assert world.outcome(after) == ("SUCCESS", "after")
    assert len(world.stackstorm.executions.all()) == len(backup)


@pytest.mark.parametrize("reschedules", [False, True])
def test_restore_while_the_relay_is_stopped(world: World, reschedules: bool) -> None:
    """The relay cannot tell a removed execution from a lost action, and reschedules it if it may."""
    waits, waits_child = world.job()
    backup = world.backup()
    world.bench.sandbox.relay.stop()
    # Its end is not delivered, and the restored StackStorm does not know it.
    world.finish(waits_child, "unheard")
    gone, gone_child = world.job()

    world.restore(backup)
    world.configure(f"reschedule_after = {3 if reschedules else 0}")
    world.bench.sandbox.start_relay()
    if reschedules:

        def made() -> dict[str, Any] | None:
            found = [child for child in world.stackstorm.executions.all() if child["id"] not in known]
            return found[0] if found and found[0]["status"] == "running" else None

        known = {execution.id for execution in backup}
        child = eventually(made, "the execution is created again")
        assert child["context"]["mistral"] == gone_child["context"]["mistral"]
        world.finish(child, "again")
        assert world.outcome(gone) == ("SUCCESS", "again")
    else:
        run = world.bench.wait(gone)
        assert run.execution["state"] == "ERROR"
        assert run.result("job")["error"] == "It was lost before it reached StackStorm."
    assert len(world.stackstorm.executions.all()) == len(backup) + reschedules
    assert (
        world.bench.action_state(waits_child["context"]["mistral"]["action_execution_id"]) == "RUNNING"
    )
    world.finish(waits_child, "heard")
    assert world.outcome(waits) == ("SUCCESS", "heard")
