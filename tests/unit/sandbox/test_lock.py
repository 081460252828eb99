"""The lock on a sandbox's folder."""

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

_HOLDER = """
import pathlib, sys, time
from st2_mistral_sandbox import lock
held = lock.acquire(pathlib.Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(600)
"""


def test_locked_folder_cannot_be_locked_again(tmp_path: Path) -> None:
    with lock.acquire(tmp_path):
        for _ in range(2):
            with pytest.raises(
                SandboxError, match=rf"in use by another sandbox \(process {os.getpid()}\)"
            ):
                lock.acquire(tmp_path)
    lock.acquire(tmp_path).close()


def test_killed_process_releases_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(SandboxError, match=rf"process {other.pid}\)"):
            lock.acquire(tmp_path)
        other.send_signal(signal.SIGKILL)
    lock.acquire(tmp_path).close()


def test_second_sandbox_writes_nothing(tmp_path: Path) -> None:
    with lock.acquire(tmp_path):
        with pytest.raises(SandboxError, match="in use by another sandbox"):
            Sandbox(tmp_path).start()
        assert [path.name for path in tmp_path.iterdir()] == ["sandbox.lock"]


def test_file_is_rejected_as_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SandboxError, match=f"--folder: {file} is a file"):
        Sandbox(file).start()
