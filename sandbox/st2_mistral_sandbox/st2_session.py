"""Run an example in a sandbox with StackStorm's own command line, ``st2``."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from st2_mistral_sandbox import example_run
from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.examples import Example
from st2_mistral_sandbox.sandbox import Sandbox

_ID: Final = re.compile(r"\b[0-9a-f]{24}\b")

_TIMEOUT: Final = 60.0
"""Seconds that one command may take. None of them waits for a workflow."""


def run(
    example: Example,
    parameters: Sequence[str],
    st2: Path,
    *,
    terminal: Mapping[str, str],
    timeout: float,
    progress: example_run.Progress,
) -> example_run.Outcome:
    """Start a sandbox, create an example's action, run it, show its executions, and stop the sandbox.

    :param parameters: the example's parameters as ``key=value``.
    :param st2: the path of StackStorm's command line.
    :param terminal: environment variables that describe the terminal.
    :param timeout: seconds from the start of the workflow.
    :raises SandboxError: a part of the sandbox did not start, a command failed, or the example did not
        end in time.
    """
    with Sandbox(register_examples=False, on_step=progress.step) as sandbox:
        shell = _Shell(st2, environment(sandbox, terminal), progress)
        shell.run("action", "create", _relative(example.metadata))
        outcome = example_run.follow(
            sandbox,
            example,
            lambda: _id_in(shell.run("run", example.ref, *parameters, "-a")),
            timeout=timeout,
            progress=progress,
        )
        # Without --showall it omits executions that have a parent.
        shell.run("execution", "list", "--showall")
        shell.run("execution", "get", outcome.parent["id"])
    return outcome


def environment(sandbox: Sandbox, terminal: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of ``st2``: this process's, but with the settings of a sandbox."""
    settings = sandbox.st2_settings
    other = {name: value for name, value in os.environ.items() if not name.startswith("ST2_")}
    return {
        **other,
        **terminal,
        # Otherwise standard error comes before standard output.
        "PYTHONUNBUFFERED": "1",
        # The configuration file in the home directory is for another StackStorm.
        "ST2_CLI_SKIP_CONFIG": "1",
        "ST2_API_URL": settings.api_url,
        "ST2_STREAM_URL": settings.stream().removesuffix("/stream"),
        "ST2_API_KEY": settings.credential.api_key or "",
    }


class _Shell:
    """Runs ``st2`` and reports each command and its output."""

    def __init__(self, st2: Path, environment: dict[str, str], progress: example_run.Progress) -> None:
        self._st2 = st2
        self._environment = environment
        self._progress = progress

    def run(self, *arguments: str) -> str:
        """Run a command, report it and its output, and return the output.

        :raises SandboxError: it failed.
        """
        line = shlex.join(["st2", *arguments])
        self._progress.command(line)
        try:
            done = subprocess.run(  # noqa: S603 - the command that the caller chose, without a shell
                [self._st2, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_TIMEOUT,
                check=False,
                env=self._environment,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxError(f"cannot run {line}: {error}") from error
        self._progress.output(done.stdout)
        if done.returncode:
            raise SandboxError(f"{line} failed with exit code {done.returncode}")
        return done.stdout


def _relative(path: Path) -> str:
    """Return a path relative to the working directory, if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _id_in(output: str) -> str:
    found = _ID.search(output)
    if found is None:
        raise SandboxError("the output of st2 run contains no execution id")
    return found[0]
