"""``st2-mistral status`` and ``repair``, and the relay's metrics."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.breaking_servers import BreakingServer, Exchange, answer, forward, refusing
from support.command_line import run_command
from support.mistral_bench import Bench, new_bench
from support.ports import own_port
from support.waiting import eventually

from st2_mistral_sandbox.process import ChildProcess
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.model.context import MistralIds

WAIT = "wait: {action: st2.action, input: {ref: tests.job}}"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox without a relay. Tests start one with their own options."""
    yield from new_bench(tmp_path_factory.mktemp("quiet"), relay=False)


def run(bench: Bench, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = () if "--config-file" in arguments else ("--config-file", bench.sandbox.relay.args[-1])
    return run_command(*arguments, *given)


def rows(bench: Bench) -> list[dict[str, Any]]:
    done = run(bench, "status", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def child_of(bench: Bench, workflow: str) -> dict[str, Any]:
    """Return the execution of a workflow's action, once it runs."""

    def runs() -> dict[str, Any] | None:
        for child in bench.stackstorm.executions.all():
            ids = child["context"].get("mistral", {})
            if ids.get("workflow_execution_id") == workflow and child["status"] == "running":
                return child
        return None

    found: dict[str, Any] = eventually(runs, "the child runs")
    return found


def test_status_without_pending_actions(quiet: Bench) -> None:
    done = run(quiet, "status")
    assert (done.returncode, done.stdout) == (0, "No pending actions.\n")
    assert rows(quiet) == []


def test_status_shows_a_pending_action_and_repair_completes_it(quiet: Bench) -> None:
    workflow = quiet.start(quiet.workbook(WAIT))
    child = child_of(quiet, workflow)
    action = child["context"]["mistral"]["action_execution_id"]

    (row,) = rows(quiet)
    assert 0 <= row.pop("age") < 60
    assert row == {
        "action_execution_id": action,
        "name": "st2.action",
        "execution_id": child["id"],
        "status": "running",
        "next": "nothing: it is running",
        "error": None,
        "failures": 0,
        "project_id": None,
        "no_access": False,
    }
    done = run(quiet, "repair", action)
    assert (done.returncode, done.stdout) == (0, f"{action}: nothing: it is running\n")

    quiet.st2.finish(child["id"], "succeeded", {"output": "home"})
    table = run(quiet, "status").stdout
    assert re.search(
        rf"^{action}  \d+ s +{child['id']}  succeeded  complete it as SUCCESS$", table, re.M
    )
    done = run(quiet, "repair", action)
    assert (done.returncode, done.stdout) == (0, f"{action}: complete it as SUCCESS\n")
    assert quiet.wait(workflow).result("wait")["output"] == "home"
    assert rows(quiet) == []


def test_repair_reschedules_an_action_without_an_execution(quiet: Bench) -> None:
    workflow = quiet.start(quiet.workbook(WAIT))
    child = child_of(quiet, workflow)
    action = child["context"]["mistral"]["action_execution_id"]
    quiet.stackstorm.executions.remove(child["id"])
    (row,) = rows(quiet)
    assert (row["execution_id"], row["next"]) == (None, "nothing: it has no execution yet")
    done = run(quiet, "repair", action)
    assert done.returncode == 1
    assert re.search(rf"{action}: it has no execution yet.* until the action is 120 s", done.stderr)
    done = run(quiet, "repair", action, "--force")
    assert (done.returncode, done.stdout) == (0, f"{action}: reschedule it: it has no execution\n")
    again = child_of(quiet, workflow)
    assert again["id"] != child["id"]
    quiet.st2.finish(again["id"], "failed", {"error": "no"})
    assert run(quiet, "repair", action).returncode == 0
    assert quiet.wait(workflow).execution["state"] == "ERROR"


def test_repair_of_an_unknown_action_names_it(quiet: Bench) -> None:
    done = run(quiet, "repair", "4b4f5be9-0000-0000-0000-000000000000")
    assert done.returncode == 1
    assert "4b4f5be9-0000-0000-0000-000000000000: Mistral does not know this" in done.stderr


def relay_with(bench: Bench, folder: Path, options: str, **replaced: str) -> ChildProcess:
    text = Path(bench.sandbox.relay.args[-1]).read_text(encoding="utf-8") + options
    for old, new in replaced.items():
        text = re.sub(rf"^{old} = .*$", f"{old} = {new}", text, flags=re.M)
    config = folder / "relay.conf"
    config.touch(mode=0o600)
    config.write_text(text, encoding="utf-8")
    return ChildProcess(
        "The relay", [*bench.sandbox.relay.args[:-1], str(config)], folder / "relay.log"
    )


def get(port: int, path: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5)


def await_health(port: int) -> None:
    """Wait until the relay accepts connections on its health port."""

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(answers, "the relay listens")


def metric(port: int, name: str) -> float:
    text = get(port, "/metrics").text
    found = re.search(rf"^st2_relay_{re.escape(name)} (\S+)$", text, re.M)
    assert found, text
    return float(found[1])


def test_metrics_count_what_the_relay_does(quiet: Bench, tmp_path: Path) -> None:
    port = own_port()
    options = f"health_port = {port}\nresync_interval = 0.5\nreschedule_after = 2\nlost_after = 4\n"
    relay = relay_with(quiet, tmp_path, f"\n{options}")
    relay.start()
    try:
        await_health(port)
        eventually(lambda: "Following" in "\n".join(relay.tail()), "the relay watches")
        both = {"stackstorm": True, "mistral": True}
        eventually(lambda: get(port, "/health").json() == both, "both systems respond")
        assert get(port, "/health").status_code == 200
        assert (
            quiet.run(quiet.workbook("say: {action: st2.action, input: {ref: core.noop}}")).execution[
                "state"
            ]
            == "SUCCESS"
        )
        assert metric(port, "completed_total") == 1
        for name in ("retries", "duplicates", "rescheduled", "lost", "cancelled"):
            assert metric(port, f"{name}_total") == 0
        assert metric(port, "lag_seconds") == 0
        eventually(lambda: metric(port, "pending_actions") == 0, "no action is pending")
        for system in ("stackstorm", "mistral"):
            assert metric(port, f'last_contact_timestamp_seconds{{system="{system}"}}') > 1.7e9
        workflow = quiet.start(
            quiet.workbook("sleep: {action: st2.action, input: {ref: tests.job}, timeout: 1}")
        )
        child_of(quiet, workflow)
        eventually(lambda: metric(port, "cancelled_total") == 1, "the orphaned execution is cancelled")

        workflow = quiet.start(quiet.workbook(WAIT))
        child = child_of(quiet, workflow)
        eventually(lambda: metric(port, "pending_actions") == 1, "an action is pending")
        ids = MistralIds(**child["context"]["mistral"])
        second = schedule(quiet.st2, ExecutionRequest("sandbox.sleep", {"seconds": 60}, ids))
        assert quiet.stackstorm.executions.wait(second["id"])["status"] == "canceled"
        eventually(lambda: metric(port, "duplicates_total") == 1, "the duplicate is cancelled")
        for made in (child, second):
            quiet.stackstorm.executions.remove(made["id"])
        eventually(lambda: metric(port, "lost_total") == 1, "the action is lost")
        assert quiet.wait(workflow).execution["state"] == "ERROR"
        assert metric(port, "rescheduled_total") == 0
        # One of them is the result of the cancelled execution.
        eventually(lambda: metric(port, "completed_total") == 2, "both results are counted")
        assert get(port, "/nothing").status_code == 404
    finally:
        relay.stop()


def test_metrics_count_rescheduled_actions(quiet: Bench, tmp_path: Path) -> None:
    workflow = quiet.start(quiet.workbook(WAIT))
    # To a new relay, a deleted execution looks like one that was never created.
    quiet.stackstorm.executions.remove(child_of(quiet, workflow)["id"])
    port = own_port()
    options = f"health_port = {port}\nresync_interval = 0.5\nreschedule_after = 1\n"
    relay = relay_with(quiet, tmp_path, f"\n{options}")
    relay.start()
    try:
        await_health(port)
        eventually(lambda: metric(port, "rescheduled_total") == 1, "it is rescheduled")
        quiet.st2.finish(child_of(quiet, workflow)["id"], "succeeded", {"output": "late"})
        assert quiet.wait(workflow).result("wait")["output"] == "late"
        eventually(lambda: metric(port, "completed_total") == 1, "it is counted")
        assert metric(port, "rescheduled_total") == 1
    finally:
        relay.stop()


def test_status_shows_why_the_relay_failed(quiet: Bench, tmp_path: Path) -> None:
    """Mistral rejects every result: status shows how often the relay failed, and why."""
    port = own_port()
    root = quiet.mistral_url.removesuffix("/v2")

    def refuse(exchange: Exchange) -> bool:
        assert exchange.request is not None
        put = exchange.request.method == "PUT"
        return (answer(500, {"faultstring": "no"}) if put else forward(root))(exchange)

    workflow = quiet.start(quiet.workbook("say: {action: st2.action, input: {ref: core.noop}}"))
    with BreakingServer(refuse) as mistral:
        options = f"\nhealth_port = {port}\nresync_interval = 0.5\n"
        relay = relay_with(quiet, tmp_path, options, mistral_url=f"{mistral.url}/v2")
        relay.start()
        try:
            eventually(lambda: "is retried later" in "\n".join(relay.tail()), "it failed")
            eventually(lambda: metric(port, "retries_total") >= 1, "that is counted")
            assert metric(port, "lag_seconds") > 0
            assert metric(port, "completed_total") == 0
            done = run(quiet, "status", "--json", "--config-file", relay.args[-1])
        finally:
            relay.stop()
    (row,) = json.loads(done.stdout)
    assert row["next"] == "complete it as SUCCESS"
    assert row["failures"] >= 1
    assert re.fullmatch(r"PUT .*: 500\.", row["error"])
    assert done.returncode == 1
    (row,) = rows(quiet)
    assert row["error"] is None
    assert run(quiet, "repair", row["action_execution_id"]).returncode == 0
    assert quiet.wait(workflow).execution["state"] == "SUCCESS"


def test_health_is_503_while_no_system_responds(quiet: Bench, tmp_path: Path) -> None:
    port = own_port()
    with refusing() as unreachable:
        relay = relay_with(
            quiet,
            tmp_path,
            f"\nhealth_port = {port}\n",
            api_url=f"{unreachable}/v1",
            stream_url=f"{unreachable}/v1/stream",
            mistral_url=f"{unreachable}/v2",
        )
        relay.start()
        try:
            await_health(port)
            health = get(port, "/health")
            assert (health.status_code, health.json()) == (503, {"stackstorm": False, "mistral": False})
        finally:
            relay.stop()


def test_a_health_port_in_use_ends_the_relay(quiet: Bench, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        relay = relay_with(quiet, tmp_path, f"\nhealth_port = {port}\n")
        relay.start()
        try:
            eventually(lambda: relay.poll() is not None, "the relay ends")
        finally:
            relay.stop()
    assert relay.poll() == 1
    assert "[st2_relay] health_port" in "\n".join(relay.tail())
