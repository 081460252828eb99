"""A real Mistral in a child process: it works, keeps what it has, and does not stay behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.mistral_server import MistralServer
from st2_mistral_sandbox.process import ChildProcess

WORKBOOK = """
version: '2.0'
name: server
workflows:
  noop:
    tasks:
      one: {action: std.noop}
  many:
    tasks:
      wait: {with-items: i in <% range(100) %>, action: std.async_noop}
"""

# Holds a server without ever stopping it; tells its pid.
PARENT = """
import sys, time
from pathlib import Path
from st2_mistral_sandbox.mistral_server import MistralServer

server = MistralServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def until(done: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # An orphan that ended, and that nobody reaps in a container without an init, is gone as well.
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and " Z " in state.read_text()


def publish(server: MistralServer) -> None:
    answer = requests.post(
        f"{server.url}/workbooks", data=WORKBOOK, headers={"Content-Type": "text/plain"}, timeout=30
    )
    assert answer.status_code == 201, answer.text


def run(server: MistralServer, workflow: str) -> str:
    answer = requests.post(f"{server.url}/executions", json={"workflow_name": workflow}, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def ends(server: MistralServer, execution_id: str) -> str:
    state = ""

    def ended() -> bool:
        nonlocal state
        execution = requests.get(f"{server.url}/executions/{execution_id}", timeout=30).json()
        state = str(execution["state"])
        return state != "RUNNING"

    until(ended)
    return state


def running_actions(server: MistralServer) -> list[Any]:
    answer = requests.get(
        f"{server.url}/action_executions?name=std.async_noop&state=RUNNING&fields=id", timeout=30
    )
    actions: list[Any] = answer.json()["action_executions"]
    return actions


def test_runs_a_workflow_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with MistralServer(tmp_path) as server:
        publish(server)
        assert ends(server, run(server, "server.noop")) == "SUCCESS"
        pid = server.pid
        assert pid is not None
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert gone(pid)
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)
    server.stop()
    assert "Mistral has stopped" in server.log_path.read_text()


def test_a_restart_keeps_workbooks_and_executions(tmp_path: Path) -> None:
    with MistralServer(tmp_path) as server:
        publish(server)
        done = run(server, "server.noop")
        assert ends(server, done) == "SUCCESS"
        url = server.url
        server.stop()

        server.start()
        assert server.url == url
        assert requests.get(f"{url}/workbooks/server", timeout=30).json()["name"] == "server"
    with MistralServer(tmp_path) as server:
        assert ends(server, done) == "SUCCESS"
        assert ends(server, run(server, "server.noop")) == "SUCCESS"


def test_many_results_at_once(tmp_path: Path) -> None:
    with MistralServer(tmp_path) as server:
        publish(server)
        execution = run(server, "server.many")
        until(lambda: len(running_actions(server)) == 100)

        def complete(action: dict[str, str]) -> int:
            return requests.put(
                f"{server.url}/action_executions/{action['id']}",
                json={"state": "SUCCESS", "output": {"id": action["id"]}},
                timeout=60,
            ).status_code

        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(complete, running_actions(server))) == {200}
        assert ends(server, execution) == "SUCCESS"
        assert "database is locked" not in server.log_path.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with MistralServer(tmp_path) as server:
        assert server.pid is not None
        os.kill(server.pid, number)
        until(lambda: server._child.poll() is not None, 3)
        assert server._child.poll() == 0


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
    finally:
        parent.kill()
        parent.communicate()
    until(lambda: gone(pid), 3)


def test_one_that_ends_early_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    server = MistralServer(tmp_path, extra_config="[database]\nconnection = nonsense://\n")
    with pytest.raises(SandboxError, match=r"(?s)Mistral has ended.*nonsense"):
        server.start()
    assert server.pid is not None
    assert gone(server.pid)


def test_one_that_is_late_is_an_error_and_stopped(tmp_path: Path) -> None:
    server = MistralServer(tmp_path)
    with pytest.raises(SandboxError, match="not ready after"):
        server.start(timeout=0.1)
    assert server.pid is not None
    assert gone(server.pid)


def test_a_module_that_knows_nothing_of_it_ends_with_its_parent_too(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import sys, time\nprint(sys.argv[1], flush=True)\ntime.sleep(600)\n"
    )
    child = ChildProcess(
        "The sleeper",
        ["st2_mistral_sandbox.parent_watch", "sleeper", "word"],
        tmp_path / "sleeper.log",
        env={"PYTHONPATH": str(tmp_path)},
    )
    child.start()
    try:
        child.wait_until(lambda: child.tail() == ["word"], 10)
        with pytest.raises(SandboxError, match="already running"):
            child.start()
        child._close_stdin()
        until(lambda: child.poll() is not None, 5)
        assert child.poll() == -signal.SIGTERM
    finally:
        child.stop()
    with pytest.raises(SandboxError, match="has ended"):
        child.wait_until(lambda: False, 1)


def test_a_signal_that_the_module_blocks_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "waiter.py").write_text(
        "import signal, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "print('blocked', flush=True)\n"
        "while not signal.sigpending():\n"
        "    time.sleep(0.05)\n"
        "print(signal.sigwait({signal.SIGTERM}).name, flush=True)\n"
    )
    child = ChildProcess(
        "The waiter",
        ["st2_mistral_sandbox.parent_watch", "waiter"],
        tmp_path / "waiter.log",
        env={"PYTHONPATH": str(tmp_path)},
    )
    child.start()
    try:
        child.wait_until(lambda: child.tail() == ["blocked"], 10)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)
        until(lambda: child.poll() is not None, 10)
        assert (child.poll(), child.tail()) == (0, ["blocked", "SIGTERM"])
    finally:
        child.stop()


MANY_EXPRESSIONS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from st2_mistral_sandbox.mistral_process import cfg, parse_one_at_a_time, yaql_expression

sys.setswitchinterval(1e-5)
cfg.CONF([], project="mistral")
parse_one_at_a_time()

def wrong(i):
    evaluate = yaql_expression.YAQLEvaluator.evaluate
    try:
        return evaluate(f"$.a{i} + {i}", {f"a{i}": i}) != 2 * i
    except Exception as error:
        return error

with ThreadPoolExecutor(4) as pool:
    print([found for found in pool.map(wrong, range(1000)) if found])
"""


def test_threads_that_evaluate_at_once_have_each_their_own_value() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY_EXPRESSIONS],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "[]"
