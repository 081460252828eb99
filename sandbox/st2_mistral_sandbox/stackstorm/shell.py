"""Run ``local-shell-cmd``: a command in a shell, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from st2_mistral_sandbox.stackstorm.json_format import from_json
from st2_mistral_sandbox.stackstorm.runners import RunRequest, RunResult

_POLL = 0.02
"""Seconds between two checks of the process, the deadline and the cancellation."""


def local_shell(request: RunRequest) -> RunResult:
    """Run the parameter ``cmd`` until it ends, is cancelled or exceeds ``timeout`` seconds."""
    parameters = request.parameters
    timeout = parameters.get("timeout") or 60
    process = subprocess.Popen(  # noqa: S603 - running commands is what this action is for
        ["/bin/sh", "-c", str(parameters.get("cmd") or "")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=parameters.get("cwd") or None,
        env=_environment(request),
        start_new_session=True,
    )
    readers = {
        name: _Reader(stream, partial(request.write, name))
        for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
    }
    timed_out = _wait(process, request.cancelled, time.monotonic() + timeout)
    _kill_group(process)
    texts = {name: reader.text() for name, reader in readers.items()}
    code = -signal.SIGKILL if timed_out else process.returncode
    result: dict[str, Any] = {
        "failed": code != 0,
        "succeeded": code == 0,
        "return_code": int(code),
        "stdout": _decoded(texts["stdout"]),
        "stderr": _decoded(texts["stderr"]),
    }
    if timed_out:
        result["error"] = f"Action failed to complete in {timeout} seconds"
        return RunResult("timeout", result)
    return RunResult("succeeded" if code == 0 else "failed", result)


class _Reader:
    """Reads a pipe to its end in a thread, so that neither pipe can block the process.

    :param write: called with each line when it is read.
    """

    def __init__(self, stream: IO[bytes] | None, write: Callable[[str], None]) -> None:
        assert stream is not None
        self._stream, self._write = stream, write
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, name="st2-shell-pipe", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            for line in self._stream:
                self._lines.append(line.decode(errors="replace"))
                self._write(self._lines[-1])

    def text(self) -> str:
        self._thread.join(timeout=5)
        return "".join(self._lines)


def _wait(process: subprocess.Popen[bytes], cancelled: threading.Event, deadline: float) -> bool:
    """Wait until the process ends, is cancelled or exceeds its deadline; return True for the last."""
    while process.poll() is None:
        if time.monotonic() >= deadline:
            _kill_group(process)
            process.wait()
            return True
        if cancelled.wait(_POLL):
            _kill_group(process)
            process.wait()
    return False


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # Also after a normal exit: processes in the background would keep the pipes open.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment(request: RunRequest) -> dict[str, str]:
    extra = request.parameters.get("env") or {}
    return {
        **os.environ,
        # Not converted, as in StackStorm: a number fails the execution.
        **extra,
        "ST2_ACTION_PACK_NAME": str(request.action["pack"]),
        "ST2_ACTION_EXECUTION_ID": str(request.execution["id"]),
        "ST2_ACTION_API_URL": request.api_url,
        "ST2_ACTION_AUTH_TOKEN": request.auth_token,
        "ST2_ACTION_DEBUG": "False",
    }


def _decoded(text: str) -> Any:
    """Strip the last line end, and decode a text that is JSON (``echo 5`` gives 5)."""
    text = text[:-1] if text.endswith("\n") else text
    text = text[:-1] if text.endswith("\r") else text
    try:
        return from_json(text)
    except ValueError:
        return text
