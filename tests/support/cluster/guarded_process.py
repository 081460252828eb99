"""Processes and resources that end with the tests, however the tests end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from st2_mistral_sandbox.process import ChildProcess
from support.cluster.venvs import Venv, clean_environment

RESOURCE_GUARD = Path(__file__).with_name("resource_guard.py")


class GuardedProcess(ChildProcess):
    """A program with its children and its own log.

    :param env: added to this environment without its variables for Python.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        guard: ResourceGuard,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, command, folder / f"{name}.log", env)
        self._folder = folder
        self._guard = guard
        self._started_at = 0

    def start(self) -> None:
        self._started_at = self.log_path.stat().st_size if self.log_path.exists() else 0
        super().start()
        assert self.pid is not None
        self._guard.watch(self.pid)

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process group, and do not wait."""
        self._kill_group(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process group at once, as if its host lost power."""
        self._kill_group(signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        super().stop()
        # From Mistral 21 on a service has workers, and one of them may outlive it.
        self._kill_group(signal.SIGKILL)
        if self.pid is not None:
            self._guard.forget(self.pid)

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def has_logged(self, text: str) -> bool:
        """Return True if the log has this text since the last start."""
        return text.encode() in self.log_path.read_bytes()[self._started_at :]

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.args,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=clean_environment() | {"PYTHONUNBUFFERED": "1", **self._env},
            start_new_session=True,
        )

    def _kill_group(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class ResourceGuard:
    """Runs ``resource_guard.py`` as a process that survives a kill of the tests.

    :param name: name of the vhost and the database; None to create neither.
    """

    def __init__(self, venv: Venv, name: str | None, folder: Path) -> None:
        self.log_path = folder / "resource-guard.log"
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [venv.python, str(RESOURCE_GUARD), *([name] if name else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=clean_environment(),
                start_new_session=True,
                text=True,
            )
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            self.close()
        self.connections: dict[str, str] = json.loads(answer)

    def watch(self, group: int) -> None:
        """End this process group with the tests."""
        self._send(group)

    def forget(self, group: int) -> None:
        """Forget a process group that has ended: another process may get its id."""
        self._send(-group)

    def close(self) -> None:
        """Remove everything. Fails if something could not be removed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        code = self._process.wait(120)
        self._process.stdout.close()
        assert code == 0, self.log_path.read_text(encoding="utf-8")

    def _send(self, number: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
