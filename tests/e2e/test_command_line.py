"""``st2-mistral`` and ``mistral`` as they are typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from bench import PATIENCE, eventually

HERE = Path(sys.executable).parent


def typed(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment to its end."""
    return subprocess.run(
        [str(HERE / words[0]), *words[1:]],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **environment},
    )


def test_demo_shows_both_executions_and_the_date() -> None:
    done = typed("st2-mistral", "demo", "examples.mistral-basic", "cmd=date +%F")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| [0-9a-f]{24} \| (\S+) +\| (\S+) +\| (\S+) +\| \S+ \|$", done.stdout, re.M)
    assert rows == [
        ("examples.mistral-basic", "st2admin", "succeeded"),
        ("core.local", "st2admin", "succeeded"),
    ]
    assert date.today().isoformat() in done.stdout
    assert "core.local running" in done.stderr


def test_demo_that_fails_says_so_and_speaks_json() -> None:
    done = typed("st2-mistral", "demo", "--json", "mistral-basic", "cmd=exit 4")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert [row["status"] for row in outcome["executions"]] == ["failed", "failed"]
    assert "examples.mistral-basic failed." in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["demo", "nope"], "There is no example 'nope'"),
        (["demo", "mistral-basic", "date"], "date: write parameters as key=value."),
        (["demo", "mistral-basic", "command=date"], "is no parameter of this example"),
        (["demo", "retry", "seconds=soon"], "seconds: 'soon' is not of type"),
        (["relay", "--config-file", "/nonexistent"], "/nonexistent"),
        (["sandbox", "--st2-api-url", "ftp://x"], "--st2-api-url: 'ftp://x' is not an http"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(words: list[str], told: str) -> None:
    done = typed("st2-mistral", *words)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [[], ["demo"], ["sandbox"], ["relay"]])
def test_help_teaches(words: list[str]) -> None:
    done = typed("st2-mistral", *words, "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``st2-mistral sandbox``, and what it printed."""
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen(
            [str(HERE / "st2-mistral"), "sandbox", "--folder", str(tmp_path / "kept")],
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            text = (tmp_path / "said").read_text
            eventually(lambda: "Ctrl-C stops all of it." in text(), "the sandbox is there")
            yield process, text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_sandbox_is_used_as_it_says_and_stops(sandbox: tuple[subprocess.Popen[str], str]) -> None:
    process, said = sandbox
    url = re.search(r"export OS_MISTRAL_URL=(\S+)", said)
    assert url
    mistral = {"OS_MISTRAL_URL": url[1], "OS_AUTH_URL": "", "OS_USERNAME": "", "OS_PASSWORD": ""}

    books = typed("mistral", "workbook-list", "-f", "json", **mistral)
    assert "examples.mistral-basic" in {row["Name"] for row in json.loads(books.stdout)}

    given = '{"ref": "core.local", "parameters": {"cmd": "date +%F"}}'
    ran = typed("mistral", "run-action", "-f", "json", "--save-result", "st2.action", given, **mistral)
    assert ran.returncode == 0, ran.stderr

    def ended() -> bool:
        listed = typed("mistral", "action-execution-list", "-f", "json", **mistral)
        return [row["State"] for row in json.loads(listed.stdout)] == ["SUCCESS"]

    eventually(ended, "the action ends")

    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(children) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    time.sleep(0.2)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
