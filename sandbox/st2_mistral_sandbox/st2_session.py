"""Run one example in a sandbox by typing what a person would type, with StackStorm's own ``st2``."""

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

_TIMEOUTS: Final = 60.0
"""Seconds that a command may take; none of those that are typed here waits for a workflow."""


def run(
    example: Example,
    words: Sequence[str],
    st2: Path,
    *,
    screen: Mapping[str, str],
    timeout: float,
    progress: example_run.Progress,
) -> example_run.Outcome:
    """Start a sandbox, make the example's action and run it, look at what came of it, stop the sandbox.

    :param words: the example's parameters as ``key=value``.
    :param st2: StackStorm's command line.
    :param screen: of its environment, what tells it where its output is shown.
    :param timeout: seconds from the start of the workflow.
    :raises SandboxError: a part of the sandbox did not start, a command failed, or the example did not
        end in time.
    """
    with Sandbox(register_examples=False, say=progress.say) as sandbox:
        shell = _Shell(st2, environment(sandbox, screen), progress)
        shell.type("action", "create", _as_typed(example.metadata))
        outcome = example_run.followed(
            sandbox,
            example,
            lambda: _id_in(shell.type("run", example.ref, *words, "-a")),
            timeout=timeout,
            progress=progress,
        )
        # Without the option it lists no executions that have a parent.
        shell.type("execution", "list", "--showall")
        shell.type("execution", "get", outcome.parent["id"])
    return outcome


def environment(sandbox: Sandbox, screen: Mapping[str, str]) -> dict[str, str]:
    """What leads ``st2`` to a sandbox, and lets it in; no other settings of it."""
    settings = sandbox.st2_settings
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ST2_")}
    return {
        **kept,
        **screen,
        # Otherwise what goes to stderr comes first.
        "PYTHONUNBUFFERED": "1",
        # The file in the home directory is for another StackStorm.
        "ST2_CLI_SKIP_CONFIG": "1",
        "ST2_API_URL": settings.api_url,
        "ST2_STREAM_URL": settings.stream().removesuffix("/stream"),
        "ST2_API_KEY": settings.credential.api_key or "",
    }


class _Shell:
    """Where ``st2`` is typed."""

    def __init__(self, st2: Path, environment: dict[str, str], progress: example_run.Progress) -> None:
        self._st2 = st2
        self._environment = environment
        self._progress = progress

    def type(self, *words: str) -> str:
        """Run a command and show it and what it prints; return the latter.

        :raises SandboxError: it failed.
        """
        line = shlex.join(["st2", *words])
        self._progress.typed(line)
        try:
            done = subprocess.run(  # noqa: S603 - the command that the caller chose, without a shell
                [self._st2, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_TIMEOUTS,
                check=False,
                env=self._environment,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxError(f"{line}: {error}") from error
        self._progress.told(done.stdout)
        if done.returncode:
            raise SandboxError(f"{line} failed, exit code {done.returncode}.")
        return done.stdout


def _as_typed(path: Path) -> str:
    """A path as one types it: from where one is, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _id_in(printed: str) -> str:
    found = _ID.search(printed)
    if found is None:
        raise SandboxError("st2 run names no execution.")
    return found[0]
