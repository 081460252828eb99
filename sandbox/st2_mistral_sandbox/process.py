"""Start a Python module as a child process, watch it, keep its log, stop it."""

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
"""Seconds between two looks at a child that is starting."""

LAST_LINES = 20
"""How much of the log an error quotes, in lines."""


class ChildProcess:
    """`python -m MODULE ARGUMENT ...` in a session of its own, so that Ctrl-C reaches the parent only.

    `args` begins with the module's name. What the child prints is appended to `log_path`. Its standard
    input is a pipe that stays open as long as this process lives: a child that watches it (see
    `parent_watch`) cannot outlive us. `env` is added to our own environment.
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
        """The child's process id, which is its process group too; None before the first start."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the child; raises SandboxError if it is running already, or cannot be started."""
        if self._process is not None and self.poll() is None:
            raise SandboxError(f"{self.name} is already running (process {self._process.pid})")
        self._close_stdin()
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            with self.log_path.open("ab") as log:
                self._process = self._spawn(log)
        except OSError as e:
            raise SandboxError(f"{self.name} cannot be started: {e}") from e

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
        """The exit code, negative for a signal; None while the child runs or was never started."""
        return self._process.poll() if self._process else None

    def must_run(self) -> None:
        """Raise SandboxError, with the end of the log, unless the child runs."""
        code = self.poll()
        if self._process is None or code is not None:
            raise SandboxError(f"{self.name} has ended, exit code {code}{self._last_lines()}")

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until `ready()` is true.

        Raises SandboxError, with the end of the log, when the child ends first or `timeout` seconds
        pass. The child is left as it is.
        """
        deadline = time.monotonic() + timeout
        while True:
            is_ready = ready()
            # Looked at last: whoever answered was not the child if that has ended.
            self.must_run()
            if is_ready:
                return
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"{self.name} is not ready after {timeout:g} seconds{self._last_lines()}"
                )
            time.sleep(POLL_INTERVAL)

    def stop(self) -> None:
        """Ask the child and what it started to end; after STOP_TIMEOUT seconds end it. Idempotent."""
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
        """The last `n` lines of the log, without their line ends; none if there is no log yet."""
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
        return "; its log ends with:\n" + "\n".join(lines) if lines else ""
