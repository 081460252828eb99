"""The unmodified ``st2`` command line against the stand-in.

A session that was recorded at a real StackStorm 3.9.0 is repeated command by command. The output must
be the same, but for values that change from run to run. The recording has no workflows, rules, runner
types, and no ``st2 action list`` or ``st2 action create``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from support.st2_command import ST2, environment_of
from support.waiting import TIMEOUT

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import Runner, RunResult, StackStorm

TESTS = Path(__file__).parents[1]
RECORDINGS = TESTS / "contract" / "recordings"


_ID = re.compile(r"\b[0-9a-f]{24}\b")
_PATTERNS = [
    (r"\b[0-9a-f]{32}\b|\{token\}", "<token>"),
    (r"on Python [\d.]+", "on Python <version>"),
    (r"\w{3}, \d\d \w{3} \d{4}", "<day>"),
    (r"\d\d:\d\d:\d\d UTC(?! \d)", "<clock>"),
    (r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d [\w+-]+ \d{4}", "<date>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\d+s elapsed", "<n>s elapsed"),
    (r"http://\S+/executions", "<url>/executions"),
    (r"trace:[0-9a-f]{10,}", "trace:<uid>"),
    (r"^\| +\| [0-9a-f]{5} +\|", "| | <uid> |"),
    (r"\b[0-9A-F]{22}\b", "<ciphertext>"),
    (r"\| [0-9A-F]{2,21} +\|", "| <ciphertext> |"),
    # One dot for each poll.
    (r"^\.+$", "."),
    (r"-+", "-"),
    (r" +", " "),
]


def plain(text: str) -> list[str]:
    """Return the lines without ids, times and the width of tables."""
    text = _ID.sub("<id>", text)
    for pattern, replacement in _PATTERNS:
        text = re.sub(pattern, replacement, text, flags=re.M)
    return [line.strip() for line in text.strip().splitlines()]


@dataclass
class Terminal:
    """Runs ``st2`` against a stand-in.

    :ivar ids: the id in this run for each recorded one.
    """

    st2: StackStorm
    environment: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(ST2), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )

    def run(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        output, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode == code, output
        return output

    def begin(self, words: list[str]) -> subprocess.Popen[str]:
        """Start a recorded command with the ids of this run; return when its execution exists."""
        before = len(self.st2.executions.objects())
        process = self.start(*(_ID.sub(lambda m: self.ids.get(m[0], m[0]), word) for word in words))
        deadline = time.monotonic() + TIMEOUT
        while words[0] == "run" and process.poll() is None and time.monotonic() < deadline:
            if len(self.st2.executions.objects()) > before:
                break
            time.sleep(0.01)
        return process

    def finish(self, process: subprocess.Popen[str], recorded: str) -> str:
        """Check that output and exit code of a command are the recorded ones."""
        output, _ = process.communicate(timeout=TIMEOUT)
        expected, _, code = recorded.rpartition("[exit ")
        assert plain(output) == plain(expected)
        assert process.returncode == int(code.strip(" ]\n"))
        for old, new in zip(_ID.findall(expected), _ID.findall(output), strict=True):
            assert self.ids.setdefault(old, new) == new, f"{old} was {self.ids[old]} before"
        return output


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    assert ST2.exists(), f"{ST2} is missing: 'make .venv-st2client/.made', or name one in ST2_COMMAND"
    extern = Runner(
        lambda request: RunResult("running", {"note": "started"}),
        metadata={"runner_parameters": {"first_result": {"type": "object"}}},
    )
    folder = TESTS / "contract" / "actions"
    with StackStorm(runners={"extern-async": extern}, action_dirs=[folder]) as st2:
        yield Terminal(st2, environment_of(st2, tmp_path))


class Surroundings:
    """Requests that were sent to the recorded server beside the command line."""

    def __init__(self, st2: StackStorm) -> None:
        self.st2, self._headers = st2, {"X-Auth-Token": st2.create_token()}
        # The recording has an Orquesta workflow. The list shows its name, not its runner.
        st2.register_action({"name": "orquesta-basic", "pack": "examples", "runner_type": "noop"})

    def _ask(self, method: str, path: str, body: dict[str, Any], **headers: str) -> Any:
        headers = {**self._headers, **headers}
        url = f"{self.st2.api_url}{path}"
        answer = requests.request(method, url, json=body, headers=headers, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def ran(self, action: str, *, until: str = "succeeded", context: str = "{}", **more: str) -> str:
        body = {"action": action, "parameters": more}
        execution_id: str = self._ask("POST", "/executions", body, **{"st2-context": context})["id"]
        self.st2.executions.wait(execution_id, {until})
        return execution_id

    def prepare(self) -> None:
        for _ in range(4):
            self.ran("exttest.async_job", until="running")
        self.st2.put_key("plain", "v1")
        self.st2.put_key("obj", '{"a": 1}')
        self.st2.put_key("sec", "top", secret=True)
        self.st2.put_key("a:b:c", "colon")
        self._ask("PUT", "/keys/mine", {"name": "mine", "value": "u", "scope": "st2kv.user"})
        for body in ({"metadata": {"n": "kept"}}, {}, {"user": "ghost"}):
            self._ask("POST", "/apikeys", body)

    def before(self, line: str, ids: dict[str, str]) -> None:
        """Do what was done before a recorded line."""
        if line == "execution list -n 5":
            self.ran("examples.orquesta-basic")
            self.ran("core.local", cmd="date")
        elif line == "execution get 6b03c409746e698659600938":
            ids["6b03c409746e698659600938"] = self.ran("exttest.async_job", until="running")
        elif line == "execution list -n 3 --showall":
            self.st2.executions.wait(ids["6b03c409746e698659600938"])
            parent = self.ran("examples.orquesta-basic")
            context = {"parent": {"execution_id": parent}}
            self.ran("core.local", cmd="date", context=json.dumps(context))


def session() -> list[tuple[str, str]]:
    """Return the recorded command lines without ``st2``, and their output."""
    text = (RECORDINGS / "st2_session.txt").read_text()
    lines = re.split(r"^\$ st2 ", text, flags=re.M)[1:]
    return [(line, output) for line, _, output in (one.partition("\n") for one in lines)]


def words_of(line: str) -> list[str]:
    """Split a line as the shell did; one command was quoted."""
    return [word.replace("\0", " ") for word in line.replace("exit 3", "exit\0003").split()]


def test_recorded_session_has_the_same_output(terminal: Terminal) -> None:
    surroundings = Surroundings(terminal.st2)
    surroundings.prepare()
    typed = session()
    assert len(typed) == 29
    pending: list[tuple[subprocess.Popen[str], str]] = []
    for line, output in typed:
        # ``st2 run`` polls every two seconds: let several of them run at once.
        if not line.startswith("run "):
            for process, expected in pending:
                terminal.finish(process, expected)
            pending.clear()
        surroundings.before(line, terminal.ids)
        words = words_of(line.replace("{password}", terminal.st2.password))
        pending.append((terminal.begin(words), output))
        if words[0] == "auth":
            process, expected = pending.pop()
            terminal.environment["ST2_AUTH_TOKEN"] = terminal.finish(process, expected).strip()
    for process, expected in pending:
        terminal.finish(process, expected)


def test_action_is_created_and_its_output_tailed(terminal: Terminal, tmp_path: Path) -> None:
    terminal.environment["ST2_AUTH_TOKEN"] = terminal.st2.create_token()
    metadata = {
        "pack": "default",
        "name": "typed_in",
        "runner_type": "local-shell-cmd",
        "entry_point": "",
        "enabled": True,
        "description": "made by hand",
        "parameters": {"cmd": {"type": "string", "default": "sleep 2; echo one; echo two"}},
    }
    file = tmp_path / "typed_in.json"
    file.write_text(json.dumps(metadata))
    assert re.search(r"\| ref +\| default\.typed_in +\|", terminal.run("action", "create", str(file)))
    listed = terminal.run("action", "list").splitlines()
    refs = {line.split("|")[1].strip() for line in listed if line.startswith("|")}
    assert {"core.local", "core.noop", "default.typed_in"} <= refs
    execution = _ID.findall(terminal.run("run", "default.typed_in", "-a"))[0]
    tail = terminal.run("execution", "tail", execution)
    assert plain(tail) == [
        "one",
        "two",
        "",
        "Execution <id> has completed (status=succeeded).",
    ]
    wrong = {**metadata, "parameters": {"cmd": {"type": ["string", "null"]}}}
    file.write_text(json.dumps(wrong))
    assert "is not one of" in terminal.run("action", "create", str(file), code=2)


def test_st2_and_mistral_show_the_same_workflow(tmp_path: Path) -> None:
    """The unmodified ``mistral`` command line works with the sandbox's Mistral."""
    with Sandbox() as sandbox:
        assert sandbox.stackstorm is not None
        st2 = Terminal(sandbox.stackstorm, environment_of(sandbox.stackstorm, tmp_path))
        st2.environment["ST2_API_KEY"] = sandbox.stackstorm.create_api_key()

        def mistral(*words: str) -> Any:
            done = subprocess.run(
                [str(Path(sys.executable).with_name("mistral")), *words],
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
                env={"PATH": os.environ["PATH"], "OS_MISTRAL_URL": sandbox.mistral_settings.url},
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        output = st2.run("run", "examples.mistral-basic", "cmd=echo hello")
        assert "status: succeeded" in output
        assert "hello" in output
        listed = st2.run("execution", "list", "--showall")
        assert [ref for ref in ("examples.mistral-basic", "core.local") if ref not in listed] == []
        assert "examples.mistral-basic" in {
            row["Name"] for row in mistral("workbook-list", "-f", "json")
        }
        (workflow,) = mistral("execution-list", "-f", "json")
        assert (workflow["Workflow name"], workflow["State"]) == (
            "examples.mistral-basic.main",
            "SUCCESS",
        )
        actions = mistral("action-execution-list", "-f", "json")
        assert {(row["Name"], row["State"]) for row in actions} == {
            ("st2.action", "SUCCESS"),
            ("st2.callback", "SUCCESS"),
        }
        (run,) = (row["ID"] for row in actions if row["Name"] == "st2.action")
        output = mistral("action-execution-get-output", run)
        assert output["result"]["stdout"] == "hello"


def test_wrong_password_is_rejected(terminal: Terminal) -> None:
    assert "Invalid or missing credentials" in terminal.run("auth", "st2admin", "-p", "nope", code=1)
