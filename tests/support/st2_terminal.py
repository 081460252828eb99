"""Type ``st2`` in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from st2_mistral_sandbox.sandbox import Sandbox
from st2actions_mistral.model.links import WorkflowRef
from support.st2_command import ST2, environment_of
from support.waiting import TIMEOUT, eventually

COLUMNS = 160


def run_in_terminal(
    command: Sequence[str], environment: dict[str, str], cwd: Path | None = None
) -> tuple[int, str]:
    """Run a command in a terminal; return its exit code and output."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, cwd=cwd
    )
    os.close(terminal)
    output = b""
    with open(controller, "rb", buffering=0) as screen:
        while True:
            try:
                read = screen.read(65536)
            except OSError:  # Linux reports the end of the last process like this
                break
            if not read:
                break
            output += read
    return process.wait(timeout=TIMEOUT), output.decode().replace("\r\n", "\n")


@dataclass
class St2:
    """Runs ``st2`` in a terminal, for a sandbox."""

    sandbox: Sandbox
    environment: dict[str, str]
    outputs: list[str] = field(default_factory=list)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        exit_code, output = run_in_terminal([str(ST2), *arguments], self.environment)
        self.outputs.append(output)
        assert exit_code == code, output
        return output

    def run(self, *arguments: str) -> str:
        """Start an action with ``st2 run … -a`` and return the execution id."""
        return self._id(self("run", *arguments, "-a"))

    def re_run(self, *arguments: str) -> str:
        """Re-run an execution with ``st2 execution re-run … -a`` and return the new id."""
        return self._id(self("execution", "re-run", *arguments, "-a"))

    @staticmethod
    def _id(output: str) -> str:
        found = re.search(r"st2 execution get ([0-9a-f]{24})", output)
        assert found, output
        return found[1]

    def rows(self, *ids: str) -> dict[str, tuple[str, str]]:
        """Return action and status of executions, as ``st2 execution list`` shows them."""
        output = self("execution", "list", "--showall", "-a", "id", "action.ref", "status")
        rows = {}
        for line in output.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == 3 and cells[0] in ids:
                rows[cells[0]] = (cells[1], cells[2].partition(" ")[0])
        return rows

    def child_of(self, parent: str) -> str:
        """Wait for the only child execution and return its id."""

        def direct() -> list[dict[str, Any]]:
            return list(self.sandbox.st2.children_below(parent))

        (child,) = eventually(direct, "the child execution exists")
        return str(child["id"])

    def until(self, execution: str, status: str) -> dict[str, Any]:
        """Wait until an execution has a status, and return it."""

        def reached() -> dict[str, Any] | None:
            found = self.sandbox.st2.get_execution(execution)
            return found if found and found["status"] == status else None

        found: dict[str, Any] = eventually(reached, f"execution {execution} is {status}")
        return found

    def workflow(self, execution: str, state: str) -> WorkflowRef:
        """Wait until the workflow of an execution has a state, and return the workflow."""

        def reached() -> WorkflowRef | None:
            parent = self.sandbox.st2.get_execution(execution)
            ref = WorkflowRef.of(parent["context"]) if parent else None
            found = self.sandbox.mistral.get_execution(ref.execution_id) if ref else None
            return ref if found and found["state"] == state else None

        found: WorkflowRef = eventually(reached, f"the workflow of {execution} is {state}")
        return found


@contextmanager
def st2_in_sandbox(folder: Path, *, resync_interval: int) -> Iterator[St2]:
    """Start a sandbox without the examples, and yield the ``st2`` for it.

    :param resync_interval: of the relay, in seconds.
    """
    assert ST2.exists(), f"{ST2} is missing: 'make .venv-st2client/.made', or name one in ST2_COMMAND"
    with Sandbox(
        folder / "sandbox",
        register_examples=False,
        relay_options=f"resync_interval = {resync_interval}",
    ) as sandbox:
        assert sandbox.stackstorm
        environment = environment_of(sandbox.stackstorm, folder)
        environment["ST2_API_KEY"] = str(sandbox.st2_settings.credential.api_key)
        yield St2(sandbox, environment)
