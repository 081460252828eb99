"""Show progress on standard error, and tables on standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final

from rich.box import ASCII2
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from st2_mistral_sandbox.example_run import COLUMNS, Outcome
from st2_mistral_sandbox.examples import Example

# Columns without a terminal: enough for a row of the table.
_WIDTH_OF_A_PIPE: Final = 120


class Progress:
    """Prints a line for each step, and on a terminal a spinner between two steps."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = Status("", console=self._console)
        self._start = time.monotonic()

    def step(self, text: str) -> None:
        """Print a step of the sandbox."""
        self._print(f"{text} …")
        self._status.update(escape(text))

    def execution(self, ref: str, status: str) -> None:
        """Print the new status of an execution."""
        self._print(f"  {ref} {status}")

    def command(self, line: str) -> None:
        """Print a command line that is run."""
        self._write(f"\n$ {line}\n")
        self._status.update(escape(line))

    def output(self, text: str) -> None:
        """Print the output of the last command."""
        self._write(text)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._status.stop()

    def _write(self, text: str) -> None:
        # The spinner and standard output share a line of the terminal.
        self._status.stop()
        sys.stdout.write(text)
        sys.stdout.flush()
        if self._console.is_terminal:
            self._status.start()

    def _print(self, text: str) -> None:
        seconds = time.monotonic() - self._start
        self._console.print(f"{seconds:5.1f} s  {escape(text)}", soft_wrap=True)


def print_examples(examples: Iterable[Example]) -> None:
    """Print a table of the examples."""
    table = Table("example", "parameters", "what it shows", box=ASCII2)
    for example in examples:
        table.add_row(
            example.ref,
            escape(" ".join(name for name in example.parameters if name != "workflow")),
            escape(example.description),
        )
    _console().print(table)


def print_outcome(outcome: Outcome) -> None:
    """Print the executions as ``st2 execution list`` does, and the workflow's result."""
    table = Table(*COLUMNS, box=ASCII2)
    for row in outcome.rows():
        table.add_row(*(escape(cell) for cell in row))
    console = _console()
    console.print()
    console.print(table)
    console.print()
    console.print(f"Result of {escape(outcome.parent['action']['ref'])}:")
    console.print_json(data=outcome.parent.get("result"))


def environment() -> dict[str, str]:
    """Return the environment variables that describe the terminal to ``st2``."""
    return {
        "COLUMNS": str(_console().width),
        # Any value turns colours off.
        "ST2_COLORIZE": "" if sys.stdout.isatty() else "no",
    }


def _console() -> Console:
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    return Console(width=width, highlight=False)
