"""The installed commands ``st2-mistral`` and ``mistral``, as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from support.command_line import run_command
from support.waiting import TIMEOUT, eventually

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral import config
from st2actions_mistral.model import states

HERE = Path(sys.executable).parent

COMMANDS = (
    "check",
    "convert",
    "demo",
    "relay",
    "repair",
    "sandbox",
    "status",
    "validate",
)


def run_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment to its end."""
    return subprocess.run(
        [str(HERE / arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, **environment},
    )


def test_demo_shows_both_executions_and_the_date() -> None:
    done = run_process("st2-mistral", "demo", "examples.mistral-basic", "cmd=date +%F")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| [0-9a-f]{24} \| (\S+) +\| (\S+) +\| (\S+) +\| \S+ \|$", done.stdout, re.M)
    assert rows == [
        ("examples.mistral-basic", "st2admin", "succeeded"),
        ("core.local", "st2admin", "succeeded"),
    ]
    assert date.today().isoformat() in done.stdout
    assert "core.local running" in done.stderr


def test_demo_reports_a_failure_as_json() -> None:
    done = run_process("st2-mistral", "demo", "--json", "mistral-basic", "cmd=exit 4")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert [row["status"] for row in outcome["executions"]] == ["failed", "failed"]
    assert "examples.mistral-basic failed." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "nope"], "unknown example 'nope'"),
        (["demo", "mistral-basic", "date"], "date: write parameters as key=value."),
        (["demo", "mistral-basic", "command=date"], "is an unknown parameter"),
        (["demo", "retry", "seconds=soon"], "seconds: 'soon' is not of type"),
        (["sandbox", "--st2-api-url", "ftp://x"], "--st2-api-url: 'ftp://x' is not an http"),
        (
            ["sandbox", "--st2-api-url", "http://127.0.0.1:1/v1"],
            "--st2-api-url: GET http://127.0.0.1:1/v1",
        ),
        (["sandbox", "--folder", "/dev/null/x"], "Not a directory"),
        (["sandbox", "--folder", __file__], f"--folder: {__file__} is a file"),
        (["demo", "mistral-basic", "workflow=other"], "workflow: is an unknown parameter"),
    ],
)
def test_errors_have_one_line(arguments: list[str], message: str) -> None:
    done = run_command(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("st2-mistral: ")


def test_error_of_the_installed_command_has_one_line() -> None:
    done = run_process("st2-mistral", "relay", "--config-file", "/nonexistent")
    assert done.returncode == 1
    assert re.fullmatch(r"st2-mistral: .*/nonexistent.*\n", done.stderr)


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_an_invalid_port_is_rejected(port: str) -> None:
    done = run_command("sandbox", f"--mistral-port={port}")
    assert done.returncode == 2
    assert port in done.stderr


@pytest.mark.parametrize(
    ("option", "owner"), [("--mistral-port", "Mistral"), ("--st2-port", "The StackStorm stand-in")]
)
def test_a_port_in_use_is_named_with_its_option(option: str, owner: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_process("st2-mistral", "sandbox", option, str(port))
    assert done.returncode == 1
    assert f"{owner} cannot use port {port} of 127.0.0.1: Address already in use" in done.stderr
    assert f"Choose another port with {option}." in done.stderr
    assert "Ctrl-C" not in done.stdout


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)])
def test_every_command_has_help(arguments: list[str]) -> None:
    done = run_command(*arguments, "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout


@contextmanager
def sandbox(folder: Path, *arguments: str, **environment: str) -> Iterator[tuple[Any, str]]:
    """``st2-mistral sandbox``: the process, and what it printed."""
    log = folder / "output"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(HERE / "st2-mistral"), "sandbox", "--folder", str(folder / "kept"), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        try:
            eventually(lambda: "Ctrl-C stops everything." in log.read_text(), "the sandbox runs")
            yield process, log.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Mistral:
    """The command ``mistral`` with the environment that the sandbox prints."""

    def __init__(self, output: str, **more: str) -> None:
        self._environment = dict.fromkeys(("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD"), "")
        exports = re.findall(r"export (.+)", output)
        self._environment |= dict(word.split("=", 1) for line in exports for word in line.split())
        # The processes of these tests find their programs without it.
        del self._environment["PATH"]
        self._environment |= more

    def __call__(self, command: str, *arguments: str) -> Any:
        done = run_process("mistral", command, "-f", "json", *arguments, **self._environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run_action(self) -> None:
        given = '{"ref": "core.local", "parameters": {"cmd": "date +%F"}}'
        self("run-action", "--save-result", "st2.action", given)
        eventually(
            lambda: [row["State"] for row in self("action-execution-list")] == ["SUCCESS"],
            "the action ends",
        )


def test_sandbox_works_as_it_prints_and_stops_on_interrupt(tmp_path: Path) -> None:
    with sandbox(tmp_path) as (process, output):
        mistral = Mistral(output)
        assert "examples.mistral-basic" in {row["Name"] for row in mistral("workbook-list")}
        mistral.run_action()
        command = re.search(r"\S*st2-mistral (status --config-file \S+)", output)
        assert command
        status = run_process("st2-mistral", *command[1].split())
        assert status.returncode == 0, status.stderr
        children = processes_below(process.pid)
        assert len(children) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def processes_below(pid: int) -> list[int]:
    """Return the ids of the child processes."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.parametrize("part", [0, 1], ids=["Mistral", "the relay"])
def test_sandbox_ends_when_one_of_its_processes_ends(tmp_path: Path, part: int) -> None:
    with sandbox(tmp_path) as (process, _):
        os.kill(processes_below(process.pid)[part], signal.SIGKILL)
        assert process.wait(timeout=60) == 1
        name = ["Mistral", "The relay"][part]
        assert f"{name} ended with exit code -9" in (tmp_path / "output").read_text()


def test_demo_cleans_up_when_its_terminal_closes(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [str(HERE / "st2-mistral"), "demo", "mistral-basic", "cmd=sleep 600"],
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
    try:
        eventually(lambda: "core.local running" in (tmp_path / "output").read_text(), "it runs")
        # An execution is running a moment before its command is.
        eventually(lambda: len(processes_below(process.pid)) == 3, "Mistral, relay and command run")
        below = processes_below(process.pid)
        process.send_signal(signal.SIGHUP)
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    assert not any(Path(f"/proc/{pid}").exists() for pid in below)


@pytest.mark.parametrize(
    ("arguments", "until"),
    [
        (["sandbox"], "Starting Mistral"),
        (["demo", "mistral-basic", "cmd=sleep 600"], "examples.mistral-basic running"),
    ],
)
def test_an_interrupt_is_acknowledged(tmp_path: Path, arguments: list[str], until: str) -> None:
    log = tmp_path / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(HERE / "st2-mistral"), *arguments], stdout=subprocess.DEVNULL, stderr=output
        )
    try:
        eventually(lambda: until in log.read_text(), "it runs")
        process.send_signal(signal.SIGINT)
        # Less than the 10 seconds that the stand-in waits for what it runs.
        assert process.wait(timeout=8) == 130
    finally:
        process.kill()
        process.wait()
    assert "Stopping …" in log.read_text()


def test_sandbox_with_an_external_stackstorm_shows_no_secret(tmp_path: Path) -> None:
    # A stand-in outside of the sandbox takes the place of a real StackStorm.
    secret = "a key that signs"
    file = tmp_path / "mistral.conf"
    file.write_text(f"[st2]\nsite = east\ncontext_key = {secret}\n")
    with (
        StackStorm() as stackstorm,
        sandbox(
            tmp_path,
            "--st2-api-url",
            stackstorm.api_url,
            "--config-file",
            str(file),
            ST2_API_KEY=(key := stackstorm.create_api_key()),
        ) as (process, output),
    ):
        assert key not in output
        Mistral(output, ST2_API_KEY=key).run_action()
        (execution,) = stackstorm.executions.all()
        assert execution["action"]["ref"] == "core.local"
        assert execution["context"]["mistral"]["site"] == "east"
        relay = tmp_path / "kept" / "relay.conf"
        assert secret in relay.read_text()
        assert relay.stat().st_mode & 0o777 == 0o600
        for pid in processes_below(process.pid):
            shown = (
                Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            )
            assert secret.encode() not in shown
        logs = [path.read_text() for path in (tmp_path / "kept").glob("*.log")]
        assert secret not in "".join([*logs, (tmp_path / "output").read_text()])


def test_sandbox_signs_with_the_context_key_of_mistral(tmp_path: Path) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text("[st2]\nsite = east\ncontext_key = new\ncontext_key = old\n")
    with Sandbox(conf=config.read_files([str(file)])) as made:
        started = made.st2.create_execution("examples.mistral-basic", {"cmd": "date"})["id"]

        def ended() -> Any:
            found = made.st2.get_execution(started)
            return found if found and found["status"] in states.ST2_FINAL else None

        execution = eventually(ended, "the workflow ends")
        assert execution["status"] == "succeeded", execution["result"]
        (child,) = made.st2.children(started)
        assert child["context"]["mistral"]["site"] == "east"
        # The user comes from the parent only if its signature is valid.
        assert child["context"]["parent"]["user"] == "st2admin"
