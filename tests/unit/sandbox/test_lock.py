"""One sandbox for each folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from st2_mistral_sandbox import lock
from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.sandbox import Sandbox

_HOLDS = """
import pathlib, sys, time
from st2_mistral_sandbox import lock
held = lock.hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        for _ in range(2):
            with pytest.raises(
                SandboxError, match=rf"in use by another sandbox \(process {os.getpid()}\)"
            ):
                lock.hold(tmp_path)
    lock.hold(tmp_path).close()


def test_one_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDS, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(SandboxError, match=rf"process {other.pid}\)"):
            lock.hold(tmp_path)
        other.send_signal(signal.SIGKILL)
    lock.hold(tmp_path).close()


def test_a_second_sandbox_writes_nothing(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        with pytest.raises(SandboxError, match="in use by another sandbox"):
            Sandbox(tmp_path).start()
        assert [path.name for path in tmp_path.iterdir()] == ["sandbox.lock"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SandboxError, match=f"--folder: {file} is a file"):
        Sandbox(file).start()
