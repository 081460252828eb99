"""No credential and no parameter appears where it must not.

The tests use recognizable values, run every kind of request with them, and search all output.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    answer,
    forward,
    hang_up,
    redirect,
    reset,
    stall,
)
from support.mistral_bench import JOB, Bench, environment
from support.waiting import eventually

from st2_mistral_sandbox import examples, mistral_runner
from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import RunResult, StackStorm
from st2actions_mistral import config
from st2actions_mistral.actions.action import St2Action
from st2actions_mistral.actions.callback import St2Callback
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.client.api import Api
from st2actions_mistral.client.auth import St2Credential
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds

PARAMETER = f"canary-parameter-{uuid.uuid4().hex}"

PAIR = """
    act:
      action: st2.action
      input: {ref: <% $.ref %>, parameters: <% $.parameters %>}
      timeout: 4
    tell:
      action: st2.callback
      input: {state: ERROR, result: <% $.parameters %>}
    """


@dataclass
class Canaries:
    """The recognizable credentials by kind."""

    api_key: str = field(default_factory=lambda: f"canary-api-key-{uuid.uuid4().hex}")
    context_key: str = field(default_factory=lambda: f"canary-context-key-{uuid.uuid4().hex}")
    old_context_key: str = field(default_factory=lambda: f"canary-old-key-{uuid.uuid4().hex}")
    keystone_password: str = field(default_factory=lambda: f"canary-keystone-{uuid.uuid4().hex}")
    keystone_token: str = field(default_factory=lambda: f"canary-ks-token-{uuid.uuid4().hex}")
    wrong: str = field(default_factory=lambda: f"canary-wrong-{uuid.uuid4().hex}")
    password: str = ""
    token: str = ""

    def found_in(self, text: str) -> set[str]:
        return {name for name, value in vars(self).items() if value in text}


class Gate:
    """Stands between all clients and StackStorm, and breaks requests on demand."""

    def __init__(self, target: str) -> None:
        self._passes = forward(target)
        self.behaviour: Behaviour | None = None

    def __call__(self, exchange: Exchange) -> bool:
        return (self.behaviour or self._passes)(exchange)


def echo(status: int) -> Behaviour:
    """Answer with everything that the request contained, credentials and body."""

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        # Secrets come first, as clients truncate the message.
        headers = exchange.request.headers
        named = ("st2-api-key", "x-auth-token", "authorization")
        secret = {name: headers[name] for name in named if name in headers}
        heard = f"heard {secret} {exchange.request.body.decode()} {dict(headers)}"
        return answer(status, {"faultstring": heard})(exchange)

    return act


def then_echo(first: int, later: int) -> Behaviour:
    """Answer the first POST so that its outcome is unknown, and its retries otherwise.

    Lookups find nothing.
    """
    calls: list[int] = []

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        if exchange.request.method == "GET":
            return answer(200, [])(exchange)
        calls.append(first if not calls else later)
        return echo(calls[-1])(exchange)

    return act


def keystone(canaries: Canaries, url: Callable[[], str]) -> Behaviour:
    """Answer as an identity service that always issues the same token."""

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        if exchange.request.method == "GET":
            links = [{"rel": "self", "href": f"{url()}/v3"}]
            return answer(200, {"version": {"id": "v3.14", "status": "stable", "links": links}})(
                exchange
            )
        token = {
            "methods": ["password"],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "relay", "domain": {"id": "default"}},
            # The project of all records of a Mistral without authentication.
            "project": {"id": "<default-project>", "name": "p", "domain": {"id": "default"}},
            "catalog": [],
        }
        return answer(201, {"token": token}, {"X-Subject-Token": canaries.keystone_token})(exchange)

    return act


@dataclass
class Stage:
    bench: Bench
    stackstorm: StackStorm
    canaries: Canaries
    gate: Gate
    folder: Path
    relays: list[ChildProcess]
    printed: list[str] = field(default_factory=list)
    thief: BreakingServer | None = None

    @functools.cached_property
    def pair_workflow(self) -> str:
        """The name of a workflow with both actions."""
        return self.bench.workbook(PAIR, inputs="[ref, parameters]")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mistral with an API key, a relay with user and password and a keystone, all at DEBUG."""
    folder = tmp_path_factory.mktemp("canary")
    canaries = Canaries()
    started: dict[str, Sandbox] = {}
    api_url: list[str] = []
    runner = mistral_runner.runner(
        lambda: started["it"].mistral, lambda: api_url[0], canaries.context_key
    )
    with StackStorm(runners={"mistral-v2": runner}, action_dirs=[examples.folder()]) as stackstorm:
        stackstorm.create_api_key(canaries.api_key)
        canaries.password = stackstorm.password
        answered = requests.post(
            f"{stackstorm.auth_url}/tokens",
            auth=(stackstorm.username, canaries.password),
            json={},
            timeout=5,
        )
        canaries.token = answered.json()["token"]
        stackstorm.register_runner(
            "tests-async", lambda request: RunResult("running", {"note": "started"})
        )
        stackstorm.register_action(JOB)
        gate = Gate(stackstorm.base_url)
        with BreakingServer(gate) as server, BreakingServer(answer(200, {"id": "x"})) as thief:
            api_url.append(f"{server.url}/api/v1")
            st2 = St2Settings(
                api_url=api_url[0],
                stream_url=stackstorm.stream_url,
                credential=Credential(api_key=canaries.api_key),
            )
            options = (
                f"context_key = {canaries.old_context_key}\n"
                "connect_timeout = 1\nread_timeout = 1\nretry_deadline = 1\n"
                "[DEFAULT]\ndebug = true\n"
            )
            sandbox = Sandbox(
                folder, st2=st2, relay=False, context_key=canaries.context_key, options=options
            )
            with sandbox, BreakingServer(keystone(canaries, lambda: identity.url)) as identity:
                started["it"] = sandbox
                relays = [
                    _relay(folder, "relay", sandbox, st2, identity.url, canaries, canaries.password),
                    _relay(folder, "refused", sandbox, st2, identity.url, canaries, canaries.wrong),
                ]
                try:
                    for relay in relays:
                        relay.start()
                    bench = Bench(sandbox)
                    made = Stage(bench, stackstorm, canaries, gate, folder, relays, thief=thief)
                    yield made
                finally:
                    for relay in relays:
                        relay.stop()


def _relay(
    folder: Path,
    name: str,
    sandbox: Sandbox,
    st2: St2Settings,
    identity: str,
    canaries: Canaries,
    password: str,
) -> ChildProcess:
    path = folder / f"{name}.conf"
    path.touch(mode=0o600)
    path.write_text(
        "[DEFAULT]\ndebug = true\ndefault_log_levels = urllib3=DEBUG,keystoneauth=DEBUG\n"
        f"[st2]\napi_url = {st2.api_url}\nstream_url = {st2.stream_url}\n"
        f"auth_url = {st2.api_url.replace('/api/', '/auth/')}\nusername = st2admin\n"
        f"password = {password.replace('$', '$$')}\n"
        f"context_key = {canaries.context_key}\nread_timeout = 2\nretry_deadline = 1\n"
        f"[st2_relay]\nmistral_url = {sandbox.mistral_settings.url}\nresync_interval = 0.5\n"
        "reschedule_after = 0\n"
        f"auth_type = v3password\nauth_url = {identity}/v3\nusername = relay\n"
        f"password = {canaries.keystone_password}\nuser_domain_id = default\n"
        "project_name = p\nproject_domain_id = default\n"
    )
    module = ["st2_mistral_sandbox.parent_watch", "st2actions_mistral.cli.main"]
    args = [*module, "relay", "--config-file", str(path)]
    return ChildProcess(name, args, folder / f"{name}.log")


# -- what is done --------------------------------------------------------------------------------


def _pair(stage: Stage, ref: str, parameters: Mapping[str, Any]) -> None:
    """Run a workflow with both actions for a parent, until both have been tried."""
    bench = stage.bench
    parent = stage.stackstorm.executions.get(_job(stage))
    id_ = str(uuid.uuid4())
    bench.mistral.start_workflow(
        stage.pair_workflow,
        {"ref": ref, "parameters": dict(parameters)},
        execution_id=id_,
        env=environment(bench.sandbox.st2_settings.api_url, parent, stage.canaries.context_key, id_),
    )

    said = stage.folder / "mistral.log"

    def over() -> bool:
        tasks = {task["name"]: task for task in bench.mistral.tasks(id_)}
        if tasks["tell"]["state"] not in states.MISTRAL_FINAL:
            return False
        if tasks["act"]["state"] in states.MISTRAL_FINAL:
            return True
        # The action is pending, and the executor has finished its part.
        log = said.read_text(errors="replace")
        return any(f"for action execution {a['id']}" in log for a in bench.actions(tasks["act"]["id"]))

    eventually(over, "both actions were tried")


def _job(stage: Stage) -> str:
    # Not through the gate, which may be broken.
    headers = {"St2-Api-Key": stage.canaries.api_key}
    url = f"{stage.stackstorm.api_url}/executions"
    made = requests.post(url, json={"action": "tests.job"}, headers=headers, timeout=5).json()
    return str(stage.stackstorm.executions.wait(made["id"], {"running"})["id"])


def _succeed(stage: Stage) -> None:
    """Run an example as StackStorm starts it."""
    started = stage.bench.st2.create_execution("examples.mistral-basic", {"cmd": f"true {PARAMETER}"})
    ended = stage.stackstorm.executions.wait(started["id"], timeout=180)
    assert ended["status"] == "succeeded", ended["result"]
    _pair(stage, "core.local", {"cmd": f"true {PARAMETER}"})


def _fail(stage: Stage) -> None:
    """Run calls that StackStorm rejects or that fail."""
    for ref, parameters in (
        ("core.local", {"cmd": f"false {PARAMETER}"}),
        ("core.nothing", {"cmd": PARAMETER}),
        ("core.local", {PARAMETER: PARAMETER}),
        ("sandbox.sleep", {"seconds": PARAMETER}),
        ("no-pack", {"cmd": PARAMETER}),
        ("core.local", {"cmd": [[[PARAMETER]]]}),
    ):
        _pair(stage, ref, parameters)


def _break(stage: Stage) -> None:
    """Run calls whose request or answer is lost or wrong."""
    assert stage.thief is not None
    for behaviour in (
        *(echo(status) for status in (400, 401, 403, 404, 413, 429, 500, 503)),
        *(then_echo(503, status) for status in (401, 405, 409, 429)),
        redirect(f"{stage.thief.url}/executions", 307),
        answer(200, b"<html>"),
        reset(),
        hang_up(),
        stall(),
    ):
        stage.gate.behaviour = behaviour
        try:
            _pair(stage, "core.local", {"cmd": f"true {PARAMETER}"})
        finally:
            stage.gate.behaviour = None
    assert stage.thief.connections == 0


def _forge(stage: Stage) -> None:
    """Run workflows with invalid contexts."""
    bench = stage.bench
    for context in (
        {"parent": {"execution_id": "0" * 24}},
        {"parent": {"execution_id": "0" * 24}, "signature": "0" * 64},
        {"api_url": "http://127.0.0.1:1/v1"},
        {"parent": 5},
    ):
        given = {"st2_context": context}
        env = {"__actions": {"st2.action": given, "st2.callback": given}}
        values = {"ref": "core.local", "parameters": {"cmd": PARAMETER}}
        started = bench.mistral.start_workflow(stage.pair_workflow, values, env=env)
        bench.wait(started["id"])


def _commands(stage: Stage) -> None:
    """Run the commands with each credential, valid and invalid."""
    url = stage.bench.sandbox.st2_settings.api_url
    auth_url = url.replace("/api/", "/auth/")
    user = f"username = st2admin\nauth_url = {auth_url}\npassword"
    for number, credential in enumerate(
        (
            f"api_key = {stage.canaries.api_key}",
            f"api_key = {stage.canaries.wrong}",
            f"auth_token = {stage.canaries.token}",
            f"auth_token = {stage.canaries.wrong}",
            f"{user} = {stage.canaries.password}",
            f"{user} = {stage.canaries.wrong}",
            f"api_key = {stage.canaries.api_key}\nauth_token = {stage.canaries.token}",
            f"api_key = {stage.canaries.api_key} {stage.canaries.token}",
            f"{stage.canaries.api_key}",
            f"api_key = $st2{stage.canaries.api_key}",
            f"api_url = http://u:{stage.canaries.password}@127.0.0.1:1/v1",
        )
    ):
        path = stage.folder / f"command-{number}.conf"
        path.touch(mode=0o600)
        first = "" if "api_url" in credential else f"api_url = {url}\n"
        path.write_text(
            f"[st2]\n{first}{credential}\ncontext_key = {stage.canaries.context_key}\n"
            f"stream_url = {stage.stackstorm.stream_url}\nread_timeout = 2\nretry_deadline = 0\n"
            f"[st2_relay]\nmistral_url = {stage.bench.mistral_url}\n"
        )
        for command in (["check"], ["relay", "--debug"]):
            # With these a relay would start and keep running.
            if command[0] == "relay" and number < 6:
                continue
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "st2actions_mistral.cli.main",
                    *command,
                    "--config-file",
                    str(path),
                ],
                capture_output=True,
                text=True,
                timeout=180,
                stdin=subprocess.DEVNULL,
            )
            assert done.stdout + done.stderr
            stage.printed.append(done.stdout + done.stderr)


def _processes(stage: Stage) -> list[str]:
    """Return the command line and environment of each process of this test."""
    ours = {os.getpid(), stage.bench.sandbox.mistral_server.pid, *(relay.pid for relay in stage.relays)}
    texts = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if int(folder.name) in ours or parent in ours:
                texts.append((folder / "cmdline").read_text() + (folder / "environ").read_text())
        except OSError:
            continue
    assert len(texts) >= 4
    return texts


@pytest.fixture(scope="module")
def done(stage: Stage) -> Stage:
    """Run everything, and read the process list meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            seen.update(_processes(stage))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        for part in (_succeed, _fail, _break, _forge, _commands):
            part(stage)
        # Give the relay time to log about the remaining actions.
        time.sleep(2)
    finally:
        over.set()
        watching.join()
    stage.printed.extend(f"process {text}" for text in seen)
    return stage


# -- what is found -------------------------------------------------------------------------------


def _files(folder: Path) -> dict[str, str]:
    """Return all files except configuration files, which only their owner may read."""
    texts = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix == ".conf":
            assert path.stat().st_mode & 0o077 == 0, path
        elif path.is_file():
            texts[path.name] = path.read_bytes().decode("utf-8", errors="replace")
    return texts


def _mistrals_answers(bench: Bench) -> dict[str, str]:
    texts = {}
    for kind in ("executions", "tasks", "action_executions", "actions", "workflows", "workbooks"):
        rows = bench.get(f"/{kind}?limit=1000")[kind]
        texts[kind] = json.dumps(rows)
        for row in rows:
            if kind in ("executions", "tasks", "action_executions"):
                texts[f"{kind}/{row['id']}"] = json.dumps(bench.get(f"/{kind}/{row['id']}"))
    return texts


def _stackstorms_answers(stage: Stage) -> dict[str, str]:
    headers = {"St2-Api-Key": stage.canaries.api_key}
    texts = {}
    for path in ("executions?limit=100", "apikeys", "actions", "keys", "traces", "user"):
        got = requests.get(f"{stage.stackstorm.api_url}/{path}", headers=headers, timeout=10)
        texts[path] = got.text
    return texts


def test_all_requests_were_made(done: Stage) -> None:
    """Check that the searches of the other tests have something to search."""
    files = _files(done.folder)
    assert {"mistral.log", "mistral.sqlite", "relay.log", "refused.log"} <= set(files)
    assert " DEBUG " in files["mistral.log"]
    assert "Completed: " in files["relay.log"]
    for logger in ("st2actions_mistral", "keystoneauth", "urllib3"):
        assert f"DEBUG {logger}." in files["relay.log"]
    assert "401" in files["refused.log"]
    assert "st2.action 'core.local'> failed" in files["mistral.log"]
    assert "st2.callback 'ERROR'> failed" in files["mistral.log"]
    for status in ("400", "401", "403", "404", "413", "500", "503", "redirects to"):
        assert status in files["mistral.log"]
    assert any(text.startswith("process ") for text in done.printed)
    # Mistral stores a task's input, so the search must find the parameter there.
    assert PARAMETER in files["mistral.sqlite"]
    assert PARAMETER in "".join(_mistrals_answers(done.bench).values())


def test_no_credential_is_in_any_file(done: Stage) -> None:
    for name, text in _files(done.folder).items():
        assert done.canaries.found_in(text) == set(), name


def test_no_credential_is_in_any_answer(done: Stage) -> None:
    answers = {**_mistrals_answers(done.bench), **_stackstorms_answers(done)}
    assert len(answers) > 50
    for name, text in answers.items():
        assert done.canaries.found_in(text) == set(), name


def test_no_credential_is_printed_or_in_the_process_list(done: Stage) -> None:
    for text in done.printed:
        assert done.canaries.found_in(text) == set(), text[:2000]


def test_no_credential_and_no_parameter_is_in_a_repr(done: Stage) -> None:
    canaries = done.canaries
    conf = config.read_files([str(done.folder / "relay.conf")])
    settings = config.load_settings(conf)
    st2 = St2Settings(credential=Credential(api_key=canaries.api_key), timeouts=Timeouts(1, 1, 0))
    password = Credential(username="u", password=canaries.password, auth_url="http://a")
    session = new_session(st2.tls)
    client = St2Client(st2)
    shown = [
        conf,
        st2,
        password,
        Credential(auth_token=canaries.token),
        session,
        client,
        St2Credential(st2, session),
        Api("http://a", session, St2Credential(st2, session), st2.timeouts),
        settings,
        settings.credential,
        ExecutionRequest("core.local", {"cmd": PARAMETER}, MistralIds("m")),
        St2Action("core.local", {"cmd": PARAMETER}),
        St2Callback("ERROR", {"cmd": PARAMETER}),
        done.bench.sandbox,
        done.stackstorm,
        *done.relays,
    ]
    client.close()
    session.close()
    text = "\n".join(f"{item!r} {item!s}" for item in shown)
    assert canaries.found_in(text) == set()
    assert PARAMETER not in text


_RECORD = re.compile(
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d+ (?:\d+ )?[A-Z]+ (?P<logger>[\w.]+)", re.MULTILINE
)


def _loggers(log: str, wanted: str) -> set[str]:
    """Return the loggers of all records that contain a text. A record may have several lines."""
    begins = list(_RECORD.finditer(log))
    ends = [record.start() for record in begins[1:]] + [len(log)]
    return {
        record["logger"]
        for record, end in zip(begins, ends, strict=True)
        if wanted in log[record.start() : end]
    }


def test_no_parameter_is_in_our_log_records(done: Stage) -> None:
    files = _files(done.folder)
    for name in ("relay.log", "refused.log"):
        assert PARAMETER not in files[name]
    loggers = _loggers(files["mistral.log"], PARAMETER)
    # The search works: Mistral itself logs the results of tasks at INFO.
    assert "workflow_trace" in loggers
    assert all(name.startswith(("workflow_trace", "mistral.", "oslo")) for name in loggers), loggers
    for text in done.printed:
        assert PARAMETER not in text
