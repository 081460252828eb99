"""Run a Python module as a child process with a log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from st2_mistral_sandbox.errors import SandboxError

STOP_TIMEOUT = 5.0
"""Seconds that a child gets between SIGTERM and SIGKILL."""

POLL_INTERVAL = 0.05
"""Seconds between two checks of a child that is starting."""

LAST_LINES = 20
"""Lines of the log that an error quotes."""


class ChildProcess:
    """A process ``python -m MODULE ...`` in a session of its own, so that Ctrl-C does not reach it.

    Its standard input is a pipe that stays open as long as this process lives: a child that watches it
    (see ``parent_watch``) cannot outlive this process.

    :param name: the name in errors.
    :param args: the module's name and its arguments.
    :param log_path: the file to which the output is appended.
    :param env: variables to add to this process's environment.
    """

    def __init__(
        self,
        name: str,
        args: Sequence[str],
        log_path: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.args = list(args)
        self.log_path = log_path
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, also of its process group; None before the first start."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the child.

        :raises SandboxError: it is already running, or cannot be started.
        """
        if self._process is not None and self.poll() is None:
            raise SandboxError(f"{self.name} is already running (process {self._process.pid})")
        self._close_stdin()
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            with self.log_path.open("ab") as log:
                self._process = self._spawn(log)
        except OSError as error:
            raise SandboxError(f"cannot start {self.name}: {error}") from error

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-m", *self.args],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self._env},
            start_new_session=True,
        )

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs or before its first start."""
        return self._process.poll() if self._process else None

    def check_running(self) -> None:
        """Check that the child runs.

        :raises SandboxError: it does not. The text ends with its log.
        """
        code = self.poll()
        if self._process is None or code is not None:
            raise SandboxError(f"{self.name} ended with exit code {code}{self._last_lines()}")

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until ``ready()`` returns true.

        :param timeout: in seconds.
        :raises SandboxError: the child ended, or is not ready in time, and runs on. The text ends with
            its log.
        """
        deadline = time.monotonic() + timeout
        while True:
            is_ready = ready()
            # After ready(): the answer was not the child's if that has ended.
            self.check_running()
            if is_ready:
                return
            if time.monotonic() > deadline:
                raise SandboxError(f"{self.name} is not ready after {timeout:g} s{self._last_lines()}")
            time.sleep(POLL_INTERVAL)

    def stop(self) -> None:
        """Terminate the child's process group, and kill it after STOP_TIMEOUT seconds. Idempotent."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                process.wait()
        self._close_stdin()

    def tail(self, n: int = LAST_LINES) -> list[str]:
        """Return the last ``n`` lines of the log, without line ends."""
        if not self.log_path.exists():
            return []
        return self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-n:]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _close_stdin(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _last_lines(self) -> str:
        lines = self.tail()
        return ". Its log ends with:\n" + "\n".join(lines) if lines else ""
