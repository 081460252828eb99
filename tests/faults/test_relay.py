"""The relay as a process of its own, between a real Mistral and the stand-in."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.breaking_servers import BreakingServer, Exchange, forward, hang_up
from support.certificates import Certificates
from support.mistral_bench import Bench, new_bench
from support.waiting import TIMEOUT, eventually
from support.workflow_children import children_of

from st2_mistral_sandbox.process import ChildProcess

MANY = 150
SOME = 80

EACH = """
each:
  with-items: i in <% range({number}) %>
  action: st2.action
  input: {{ref: sandbox.echo, parameters: {{value: <% $.i %>}}}}
"""

SLEEP = "say: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 2}}}"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A sandbox whose relay does not run unless a test starts it."""
    yield from new_bench(tmp_path_factory.mktemp("quiet"), relay=False)


@pytest.fixture
def relay(quiet: Bench) -> Iterator[ChildProcess]:
    """The relay, stopped at the end of each test."""
    yield quiet.sandbox.relay
    quiet.sandbox.relay.stop()


def scheduled(bench: Bench, workflow_execution_id: str, number: int) -> bool:
    return len(children(bench, workflow_execution_id)) == number


def children(bench: Bench, workflow_execution_id: str) -> list[dict[str, object]]:
    return children_of(bench.stackstorm, workflow_execution_id)


def check_all_came_home(bench: Bench, workflow_execution_id: str, number: int) -> None:
    """Each action has its own child's result, and each child was made once."""
    run = bench.wait(workflow_execution_id, timeout=300)
    assert run.execution["state"] == "SUCCESS"
    assert Counter(action["state"] for action in run.actions) == {"SUCCESS": number}
    results = [action["output"]["result"] for action in run.actions]
    assert sorted(result["result"]["value"] for result in results) == list(range(number))
    by_action = {
        child["context"]["mistral"]["action_execution_id"]: child["id"]
        for child in children(bench, workflow_execution_id)
    }
    assert len(children(bench, workflow_execution_id)) == number
    assert {
        action["id"]: action["output"]["result"]["st2"]["execution_id"] for action in run.actions
    } == (by_action)


def deliveries(bench: Bench, since: int = 0) -> list[str]:
    """The action executions that the relay says it has completed."""
    log = bench.sandbox.relay.log_path.read_text(encoding="utf-8")[since:]
    return [
        line.rpartition("action execution ")[2].split()[0]
        for line in log.splitlines()
        if " Completed: " in line
    ]


def test_results_of_a_stopped_relay_are_delivered_after_its_start(
    quiet: Bench, relay: ChildProcess
) -> None:
    started = quiet.start(
        quiet.workbook("say: {action: st2.action, input: {ref: core.local, parameters: {cmd: date}}}")
    )
    (child,) = eventually(lambda: children(quiet, started), "the execution is created")
    quiet.stackstorm.executions.wait(child["id"])
    relay.start()
    assert quiet.wait(started).execution["state"] == "SUCCESS"


def test_killed_in_the_middle_and_started_again(quiet: Bench, relay: ChildProcess) -> None:
    relay.start()
    since = len(relay.log_path.read_bytes())
    started = quiet.start(quiet.workbook(EACH.format(number=MANY)))
    eventually(lambda: len(deliveries(quiet, since)) > MANY // 5, "some results are delivered")
    assert relay.pid is not None
    os.kill(relay.pid, signal.SIGKILL)
    eventually(lambda: relay.poll() is not None, "the relay is dead")
    assert len(deliveries(quiet, since)) < MANY
    relay.start()
    check_all_came_home(quiet, started, MANY)
    twice = [action for action, times in Counter(deliveries(quiet, since)).items() if times > 1]
    assert twice == []


def test_several_at_once(quiet: Bench, relay: ChildProcess, tmp_path: Path) -> None:
    second = ChildProcess("The second relay", relay.args, tmp_path / "second.log")
    relay.start()
    second.start()
    try:
        check_all_came_home(quiet, quiet.start(quiet.workbook(EACH.format(number=SOME))), SOME)
    finally:
        second.stop()
    assert "Traceback" not in (tmp_path / "second.log").read_text(encoding="utf-8")


def test_the_first_signal_lets_it_finish(quiet: Bench, relay: ChildProcess) -> None:
    relay.start()
    since = len(relay.log_path.read_bytes())
    started = quiet.start(quiet.workbook(EACH.format(number=SOME)))
    eventually(lambda: len(deliveries(quiet, since)) > SOME // 5, "some results are delivered")
    assert relay.pid is not None
    os.kill(relay.pid, signal.SIGTERM)
    eventually(lambda: relay.poll() is not None, "the relay ends", timeout=20)
    assert relay.poll() == 0
    relay.start()
    check_all_came_home(quiet, started, SOME)


def test_mistral_away_and_back(quiet: Bench, relay: ChildProcess) -> None:
    started = quiet.start(
        quiet.workbook(
            "say: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 2}}}"
        )
    )
    (child,) = eventually(lambda: children(quiet, started), "the execution is created")
    quiet.sandbox.mistral_server.stop()
    since = relay.log_path.stat().st_size if relay.log_path.exists() else 0
    relay.start()
    quiet.stackstorm.executions.wait(child["id"])
    eventually(lambda: b"no connection" in relay.log_path.read_bytes()[since:], "the relay reports it")
    assert relay.poll() is None
    quiet.sandbox.mistral_server.start()
    assert quiet.wait(started).execution["state"] == "SUCCESS"


def test_mistral_over_tls(quiet: Bench, relay: ChildProcess, tmp_path: Path) -> None:
    """Mistral's real API behind a certificate of a CA of our own, as behind a balancer."""
    certificates = Certificates()
    plain = Path(relay.args[-1]).read_text(encoding="utf-8")
    root = quiet.mistral_url.removesuffix("/v2")
    with BreakingServer(forward(root), tls=certificates.good) as balancer:

        def relay_with(name: str, *options: str) -> ChildProcess:
            config = tmp_path / f"{name}.conf"
            lines = [plain.replace(root, balancer.url), *options]
            config.write_text("\n".join(lines), encoding="utf-8")
            return ChildProcess(name, [*relay.args[:-1], str(config)], tmp_path / f"{name}.log")

        started = quiet.start(
            quiet.workbook(
                "say: {action: st2.action, input: {ref: core.local, parameters: {cmd: date}}}"
            )
        )
        distrusts = relay_with("distrusts")
        distrusts.start()
        try:
            eventually(
                lambda: "set [st2_relay] cafile to it" in "\n".join(distrusts.tail()),
                "it says what to do",
            )
        finally:
            distrusts.stop()
        assert balancer.requests == []
        trusts = relay_with(
            "trusts", f"cafile = {certificates.cafile(tmp_path)}", "resync_interval = 1"
        )
        trusts.start()
        try:
            assert quiet.wait(started).execution["state"] == "SUCCESS"
            balancer.show_certificate(certificates.expired)
            balancer.drop()
            started = quiet.start(quiet.workbook("say: {action: st2.action, input: {ref: core.noop}}"))
            eventually(lambda: "has expired: renew it" in "\n".join(trusts.tail()), "it says why not")
            balancer.show_certificate(certificates.good)
            assert quiet.wait(started).execution["state"] == "SUCCESS"
        finally:
            trusts.stop()
    assert "PUT" in {request.method for request in balancer.requests}


def test_second_signal_ends_the_relay_at_once(
    quiet: Bench, relay: ChildProcess, tmp_path: Path
) -> None:
    completes, release = threading.Event(), threading.Event()
    root = quiet.mistral_url.removesuffix("/v2")

    def hold_completions(exchange: Exchange) -> bool:
        assert exchange.request is not None
        if exchange.request.method == "PUT":
            completes.set()
            release.wait(TIMEOUT)
            return hang_up()(exchange)
        return forward(root)(exchange)

    started = quiet.start(quiet.workbook("say: {action: st2.action, input: {ref: core.noop}}"))
    with (
        BreakingServer(hold_completions) as mistral,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager,
    ):
        service_manager.bind(str(tmp_path / "notify"))
        service_manager.settimeout(TIMEOUT)
        config = tmp_path / "held.conf"
        text = Path(relay.args[-1]).read_text(encoding="utf-8").replace(root, mistral.url)
        config.write_text(text, encoding="utf-8")
        held = ChildProcess(
            "held",
            [*relay.args[:-1], str(config)],
            tmp_path / "held.log",
            env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        held.start()
        try:
            assert completes.wait(TIMEOUT)
            assert held.pid is not None
            os.kill(held.pid, signal.SIGTERM)
            # Two signals that arrive together are one.
            while b"STOPPING=1" not in service_manager.recv(4096):
                pass
            assert held.poll() is None
            os.kill(held.pid, signal.SIGTERM)
            eventually(lambda: held.poll() is not None, "the relay ends", timeout=5)
            assert held.poll() == 1
        finally:
            release.set()
            held.stop()
    relay.start()
    assert quiet.wait(started).execution["state"] == "SUCCESS"
