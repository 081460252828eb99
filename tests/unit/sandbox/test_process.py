"""Child processes: start, errors and log, and their end with that of their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import eventually

from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.process import ChildProcess

PARENT_WATCH = "st2_mistral_sandbox.parent_watch"

SLEEPER = "import sys, time\nprint(sys.argv[1], flush=True)\ntime.sleep(600)\n"

# Blocks SIGTERM and waits for it, as Mistral's process does.
WAITER = """\
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("blocked", flush=True)
while not signal.sigpending():
    time.sleep(0.05)
print(signal.sigwait({signal.SIGTERM}).name, flush=True)
"""


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ChildProcess]:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    child = ChildProcess(
        "The sleeper", ["sleeper", "word"], tmp_path / "log", env={"PYTHONPATH": str(tmp_path)}
    )
    yield child
    child.stop()


def test_running_child_cannot_be_started_again(sleeper: ChildProcess) -> None:
    sleeper.start()
    sleeper.wait_until(lambda: sleeper.tail() == ["word"], 30)
    sleeper.check_running()
    with pytest.raises(SandboxError, match="The sleeper is already running"):
        sleeper.start()
    sleeper.stop()
    assert sleeper.poll() == -signal.SIGTERM


def test_error_of_an_ended_child_quotes_its_log(sleeper: ChildProcess) -> None:
    sleeper.start()
    sleeper.wait_until(lambda: sleeper.tail() == ["word"], 30)
    sleeper.stop()
    with pytest.raises(SandboxError, match=r"(?s)ended with exit code -15. Its log ends with:.word"):
        sleeper.wait_until(lambda: True, 1)
    with pytest.raises(SandboxError, match="ended with exit code -15"):
        sleeper.check_running()


def test_child_that_is_not_ready_in_time_is_an_error(sleeper: ChildProcess) -> None:
    sleeper.start()
    with pytest.raises(SandboxError, match="The sleeper is not ready after"):
        sleeper.wait_until(lambda: False, 0.1)
    sleeper.check_running()


def test_watched_module_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    child = subprocess.Popen(
        [sys.executable, "-m", PARENT_WATCH, "sleeper", "word"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "word\n"
        child.stdin.close()
        assert child.wait(30) == -signal.SIGTERM


def test_watch_leaves_a_blocked_signal_to_the_module(tmp_path: Path) -> None:
    (tmp_path / "waiter.py").write_text(WAITER)
    child = ChildProcess(
        "The waiter",
        [PARENT_WATCH, "waiter"],
        tmp_path / "waiter.log",
        env={"PYTHONPATH": str(tmp_path)},
    )
    child.start()
    try:
        child.wait_until(lambda: child.tail() == ["blocked"], 30)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)
        eventually(lambda: child.poll() is not None, "it ends", timeout=30)
        assert (child.poll(), child.tail()) == (0, ["blocked", "SIGTERM"])
    finally:
        child.stop()
