"""Runners: results, cancellation, concurrency, and a stop that leaves nothing running."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from st2_mistral_sandbox.stackstorm import RunRequest, RunResult, StackStorm
from st2_mistral_sandbox.stackstorm.catalog import Catalog, RegistrationError


@pytest.fixture(scope="module")
def st2() -> Iterator[StackStorm]:
    with StackStorm() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def session(st2: StackStorm) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["St2-Api-Key"] = st2.create_api_key()
        yield session


def run(st2: StackStorm, session: requests.Session, action: str, **parameters: Any) -> Any:
    body = {"action": action, "parameters": parameters}
    posted = session.post(f"{st2.api_url}/executions", json=body, timeout=10)
    assert posted.status_code == 201, posted.text
    return st2.executions.wait(posted.json()["id"])


@pytest.mark.parametrize(
    ("cmd", "stdout"),
    [("printf 'a\\n\\n'", "a\n"), ("echo 5", 5), ("echo '{\"a\": 1}'", {"a": 1}), ("true", "")],
)
def test_stdout_is_stripped_and_decoded(
    st2: StackStorm, session: requests.Session, cmd: str, stdout: Any
) -> None:
    assert run(st2, session, "core.local", cmd=cmd)["result"]["stdout"] == stdout


def test_command_gets_url_and_id_in_its_environment(st2: StackStorm, session: requests.Session) -> None:
    cmd = "echo $ST2_ACTION_API_URL $ST2_ACTION_EXECUTION_ID $EXTRA"
    done = run(st2, session, "core.local", cmd=cmd, env={"EXTRA": "x"})
    assert done["result"]["stdout"] == f"{st2.api_url} {done['id']} x"


def test_number_in_the_environment_fails(st2: StackStorm, session: requests.Session) -> None:
    """The message is that of StackStorm 3.9.0."""
    done = run(st2, session, "core.local", cmd="true", env={"READY_AT": 1795617255})
    assert done["status"] == "failed"
    assert done["result"]["error"] == "expected str, bytes or os.PathLike object, not int"
    assert done["result"]["traceback"]


@pytest.mark.parametrize("value", ["a", 5, None, [1, "{% raw %}"], {"a": {"b": None}}, True])
def test_echo_returns_its_value(st2: StackStorm, session: requests.Session, value: Any) -> None:
    done = run(st2, session, "sandbox.echo", value=value)
    assert done["result"] == {
        "stdout": "",
        "stderr": "",
        "exit_code": 0,
        "result": {"value": value},
    }


def test_fail_fails_with_its_message(st2: StackStorm, session: requests.Session) -> None:
    done = run(st2, session, "sandbox.fail", message="no luck")
    assert done["status"] == "failed"
    assert done["result"] == {"stdout": "", "stderr": "no luck", "exit_code": 1, "result": None}


def test_mongodb_pack_changes_the_replica_set(st2: StackStorm, session: requests.Session) -> None:
    members = ["mongo1", "mongo2", "mongo3"]
    chosen = run(st2, session, "mongodb.elect-primary", members=members)["result"]["result"]
    run(st2, session, "mongodb.run-update-xyz", node=chosen["candidate"])
    assert {m["name"]: m["version"] for m in st2.replica_set.members()}["mongo2"] == "7.0"
    failed = run(st2, session, "mongodb.rs-check-status", primary="mongo3")
    assert failed["result"]["stderr"] == "mongo3 is not the primary; the primary is mongo1"


def test_custom_runner_gets_entry_point_and_token(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        '{"name": "job", "pack": "p", "runner_type": "own", "entry_point": "job.txt"}'
    )
    (tmp_path / "job.txt").write_text("entry")
    seen: list[RunRequest] = []

    def own(request: RunRequest) -> RunResult:
        seen.append(request)
        assert request.entry_point is not None
        return RunResult("succeeded", {"read": request.entry_point.read_text()}, {"more": 1})

    with StackStorm(runners={"own": own}, action_dirs=[tmp_path]) as st2, requests.Session() as http:
        http.headers["X-Auth-Token"] = st2.create_token()
        done = run(st2, http, "p.job")
        assert done["result"] == {"read": "entry"}
        assert done["context"]["more"] == 1
        assert seen[0].auth_token not in repr(seen[0])
        revoked = requests.get(
            f"{st2.api_url}/user", headers={"X-Auth-Token": seen[0].auth_token}, timeout=5
        )
        assert revoked.status_code == 401


WORKBOOK = b"version: '2.0'\nname: p.valid\nworkflows: {main: {tasks: {a: {action: std.noop}}}}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("workbook.yaml", WORKBOOK),
        ("workbook.yml", WORKBOOK),
        ("workflow.yaml", b"version: '2.0'\np.valid: {tasks: {a: {action: std.noop}}}"),
        ("list.yaml", b"[a]"),
        ("broken.yaml", b"foo: ["),
        ("latin.yaml", b"name: \xe9"),
        ("unknown.yaml", b"name: unknown\npack: p\nrunner_type: nosuch"),
        ("folder.yaml", None),
    ],
)
def test_pack_with_a_file_that_is_no_metadata_is_refused(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    actions = tmp_path / "p" / "actions"
    actions.mkdir(parents=True)
    (actions / "valid.yaml").write_text("{name: valid, runner_type: local-shell-cmd}")
    if content is None:
        (actions / name).mkdir()
    else:
        (actions / name).write_bytes(content)
    reason = f'Failed to register action "{actions / name}" from pack "p": '
    with pytest.raises(RegistrationError, match=re.escape(reason)):
        StackStorm(action_dirs=[actions])


def test_pack_is_registered_without_the_files_below_its_actions(tmp_path: Path) -> None:
    actions = tmp_path / "p" / "actions"
    (actions / "workflows").mkdir(parents=True)
    (actions / "workflows" / "valid.yaml").write_bytes(WORKBOOK)
    (actions / "ignored.json").write_text("not metadata")
    (actions / "valid.yaml").write_text("{name: valid, runner_type: local-shell-cmd}")
    catalog = Catalog()
    catalog.add_folder(actions)
    assert catalog.action("p.valid")


def test_error_of_a_runner_fails_the_execution(tmp_path: Path) -> None:
    def broken(request: RunRequest) -> RunResult:
        raise RuntimeError("boom")

    with StackStorm(runners={"broken": broken}) as st2, requests.Session() as http:
        http.headers["X-Auth-Token"] = st2.create_token()
        st2.register_action({"pack": "p", "name": "b", "runner_type": "broken"})
        done = run(st2, http, "p.b")
    assert done["status"] == "failed"
    assert done["result"]["error"] == "boom"


def test_failed_rendering_leaves_a_failed_execution(st2: StackStorm, session: requests.Session) -> None:
    answer = session.post(
        f"{st2.api_url}/executions",
        json={"action": "sandbox.echo", "parameters": {"value": "{{ nope }}"}},
        headers={"st2-context": '{"mistral": {"action_execution_id": "a1"}}'},
        timeout=10,
    )
    assert answer.status_code == 400
    failed = st2.executions.get("last")
    assert failed["status"] == "failed"
    assert failed["context"]["mistral"] == {"action_execution_id": "a1"}
    assert failed["result"]["error"] == 'Dependency unsatisfied in variable "nope"'


def test_limits_of_body_and_header(st2: StackStorm, session: requests.Session) -> None:
    def post(value: str, context: str = "{}") -> requests.Response:
        return session.post(
            f"{st2.api_url}/executions",
            json={"action": "sandbox.echo", "parameters": {"value": value}},
            headers={"st2-context": context},
            timeout=20,
        )

    assert post("x" * 1024 * 1024).status_code == 201
    assert post("x" * 10 * 1024 * 1024).status_code == 500
    assert post("x", '{"a": "' + "y" * 8100 + '"}').status_code == 201
    for length in (9_000, 70_000):
        rejected = post("x", '{"a": "' + "y" * length + '"}')
        assert (rejected.status_code, rejected.content) == (400, b"")


def test_300_clients_at_once(st2: StackStorm) -> None:
    key = st2.create_api_key()

    def post(_: int) -> str:
        answer = requests.post(
            f"{st2.api_url}/executions",
            json={"action": "core.noop"},
            headers={"St2-Api-Key": key},
            timeout=30,
        )
        posted: str = answer.json()["id"]
        return posted

    with ThreadPoolExecutor(300) as clients:
        posted = list(clients.map(post, range(300)))
    assert len(set(posted)) == 300
    for execution_id in posted:
        assert st2.executions.wait(execution_id)["status"] == "succeeded"


def test_delayed_execution_occupies_no_worker(st2: StackStorm, session: requests.Session) -> None:
    url = f"{st2.api_url}/executions"
    delayed = [
        session.post(url, json={"action": "core.noop", "delay": 700}, timeout=10).json()["id"]
        for _ in range(40)
    ]
    began = time.monotonic()
    assert run(st2, session, "core.noop")["status"] == "succeeded"
    assert time.monotonic() - began < 0.5
    for execution_id in delayed:
        done = st2.executions.wait(execution_id)
        assert [entry["status"] for entry in done["log"]] == [
            "requested",
            "delayed",
            "scheduled",
            "running",
            "succeeded",
        ]


def test_stop_ends_threads_and_processes(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    pids = tmp_path / "pids"
    st2 = StackStorm()
    st2.start()
    with requests.Session() as http:
        http.headers["St2-Api-Key"] = st2.create_api_key()
        url = f"{st2.api_url}/executions"
        cmd = f"sleep 60 & echo $! >> {pids}; echo $$ >> {pids}; sleep 60"
        http.post(url, json={"action": "core.local", "parameters": {"cmd": cmd}}, timeout=10)
        http.post(url, json={"action": "sandbox.sleep", "parameters": {"seconds": 60}}, timeout=10)
        http.post(url, json={"action": "core.noop", "delay": 60_000}, timeout=10)
        deadline = time.monotonic() + 5
        while not pids.exists() or len(pids.read_text().split()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        began = time.monotonic()
        st2.stop()
    assert time.monotonic() - began < 3
    assert set(threading.enumerate()) <= threads
    for pid in map(int, pids.read_text().split()):
        assert _is_gone(pid)


def _is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            # Killed, and not yet reaped.
            return True
        time.sleep(0.02)
    return False
