"""Processes that end with the tests, however those end."""

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


class Process(ChildProcess):
    """A program, and whatever it starts, with a log of its own.

    :param env: beside our own environment, without what concerns Python.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        steward: Steward,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, command, folder / f"{name}.log", env)
        self._folder = folder
        self._steward = steward
        self._started_at = 0

    def start(self) -> None:
        self._started_at = self.log_path.stat().st_size if self.log_path.exists() else 0
        super().start()
        assert self.pid is not None
        self._steward.watch(self.pid)

    def ask_to_end(self) -> None:
        """Send SIGTERM to all of it, and do not wait."""
        self._kill_group(signal.SIGTERM)

    def kill(self) -> None:
        """All of it at once, as when its host loses power."""
        self._kill_group(signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        super().stop()
        # From 21 on a service is a master and its workers; one of those may outlive it.
        self._kill_group(signal.SIGKILL)
        if self.pid is not None:
            self._steward.forget(self.pid)

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def said_since(self, words: str) -> bool:
        """Whether these words are in its log since it was started last."""
        return words.encode() in self.log_path.read_bytes()[self._started_at :]

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


class Steward:
    """See ``resource_guard.py``: the vhost, the database, and the end of everything.

    :param name: of the vhost and the database; None: neither is made.
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
        self.given: dict[str, str] = json.loads(answer)

    def watch(self, group: int) -> None:
        """See to it that a process group ends with us."""
        self._tell(group)

    def forget(self, group: int) -> None:
        """A process group has ended: its number may become somebody else's."""
        self._tell(-group)

    def close(self) -> None:
        """Have everything given back. Fails where something was not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        code = self._process.wait(120)
        self._process.stdout.close()
        assert code == 0, self.log_path.read_text(encoding="utf-8")

    def _tell(self, number: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
