"""Mistral in a child process: workflows, restarts, and its end with that of its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from support.waiting import eventually

from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.mistral_server import MistralServer

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

# Starts a server, prints its process id and never stops it.
PARENT = """
import sys, time
from pathlib import Path
from st2_mistral_sandbox.mistral_server import MistralServer

server = MistralServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MistralServer]:
    with MistralServer(tmp_path_factory.mktemp("server")) as server:
        publish(server)
        yield server


@pytest.fixture
def server(shared_server: MistralServer) -> MistralServer:
    """A running server with the workbook. It is started again if a test has ended it."""
    if shared_server.exit_code is not None:
        shared_server.start()
    return shared_server


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # In a container without an init, nobody reaps an orphan: it stays a zombie.
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and " Z " in state.read_text()


def publish(server: MistralServer) -> None:
    response = requests.post(
        f"{server.url}/workbooks", data=WORKBOOK, headers={"Content-Type": "text/plain"}, timeout=30
    )
    assert response.status_code == 201, response.text


def start(server: MistralServer, workflow: str) -> str:
    response = requests.post(f"{server.url}/executions", json={"workflow_name": workflow}, timeout=30)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def final_state(server: MistralServer, execution_id: str) -> str:
    def final() -> str | None:
        execution = requests.get(f"{server.url}/executions/{execution_id}", timeout=30).json()
        return None if execution["state"] == "RUNNING" else str(execution["state"])

    return str(eventually(final, "the workflow is final"))


def running_actions(server: MistralServer) -> list[Any]:
    response = requests.get(
        f"{server.url}/action_executions?name=std.async_noop&state=RUNNING&fields=id", timeout=30
    )
    actions: list[Any] = response.json()["action_executions"]
    return actions


def test_workflow_succeeds(server: MistralServer) -> None:
    assert final_state(server, start(server, "server.noop")) == "SUCCESS"


def test_many_results_at_once_do_not_lock_the_database(server: MistralServer) -> None:
    execution = start(server, "server.many")
    eventually(lambda: len(running_actions(server)) == 100, "all actions run")

    def complete(action: dict[str, str]) -> int:
        return requests.put(
            f"{server.url}/action_executions/{action['id']}",
            json={"state": "SUCCESS", "output": {"id": action["id"]}},
            timeout=60,
        ).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(complete, running_actions(server))) == {200}
    assert final_state(server, execution) == "SUCCESS"
    assert "database is locked" not in server.log_path.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_code_0(server: MistralServer, number: signal.Signals) -> None:
    assert server.pid is not None
    os.kill(server.pid, number)
    eventually(lambda: server.exit_code is not None, "it ends", timeout=3)
    assert server.exit_code == 0


def test_restart_keeps_url_workbooks_and_executions(server: MistralServer) -> None:
    finished, url = start(server, "server.noop"), server.url
    assert final_state(server, finished) == "SUCCESS"
    server.stop()
    server.start()
    assert server.url == url
    assert requests.get(f"{url}/workbooks/server", timeout=30).json()["name"] == "server"
    assert final_state(server, finished) == "SUCCESS"
    assert final_state(server, start(server, "server.noop")) == "SUCCESS"


def test_close_ends_process_and_api(server: MistralServer) -> None:
    pid = server.pid
    assert pid is not None
    start_of_close = time.monotonic()
    server.close()
    assert time.monotonic() - start_of_close < 3
    assert is_gone(pid)
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)
    server.stop()
    assert server.log_path.read_text().endswith("Mistral has stopped\n")


def test_mistral_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
    finally:
        parent.kill()
        parent.communicate()
    eventually(lambda: is_gone(pid), "it ends", timeout=3)


def test_early_end_is_an_error_with_the_end_of_the_log(tmp_path: Path) -> None:
    server = MistralServer(tmp_path, extra_config="[database]\nconnection = nonsense://\n")
    with pytest.raises(SandboxError, match=r"(?s)Mistral ended with exit code .*nonsense"):
        server.start()
    assert server.pid is not None
    assert is_gone(server.pid)


def test_start_that_takes_too_long_is_an_error_and_is_stopped(tmp_path: Path) -> None:
    server = MistralServer(tmp_path)
    with pytest.raises(SandboxError, match="not ready after"):
        server.start(timeout=0.1)
    assert server.pid is not None
    assert is_gone(server.pid)


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


def test_parallel_yaql_evaluations_get_their_own_values() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY_EXPRESSIONS],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "[]"
