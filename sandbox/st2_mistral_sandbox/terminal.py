"""What a person sees: progress on standard error, tables on standard output."""

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

# A terminal's own width where there is one; enough for a line of the table where there is none.
_WIDTH_OF_A_PIPE: Final = 120


class Progress:
    """One line for each thing that happens, and on a terminal a spinner while nothing does."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = Status("", console=self._console)
        self._begun = time.monotonic()

    def say(self, words: str) -> None:
        """A step of the sandbox."""
        self._print(f"{words} …")
        self._status.update(escape(words))

    def execution(self, ref: str, status: str) -> None:
        """An execution of the example has a new status."""
        self._print(f"  {ref} {status}")

    def typed(self, line: str) -> None:
        """A line is typed at a shell's prompt."""
        self._out(f"\n$ {line}\n")
        self._status.update(escape(line))

    def told(self, output: str) -> None:
        """What the line that was typed last printed."""
        self._out(output)

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

    def _out(self, text: str) -> None:
        # A spinner and standard output share a line of the terminal.
        self._status.stop()
        sys.stdout.write(text)
        sys.stdout.flush()
        if self._console.is_terminal:
            self._status.start()

    def _print(self, words: str) -> None:
        seconds = time.monotonic() - self._begun
        self._console.print(f"{seconds:5.1f} s  {escape(words)}", soft_wrap=True)


def examples(found: Iterable[Example]) -> None:
    """A table of the examples."""
    table = Table("example", "parameters", "what it shows", box=ASCII2)
    for example in found:
        table.add_row(
            example.ref,
            escape(" ".join(name for name in example.parameters if name != "workflow")),
            escape(example.description),
        )
    _console().print(table)


def outcome(found: Outcome) -> None:
    """What ``st2 execution list`` shows of a workflow and its actions, and the workflow's result."""
    table = Table(*COLUMNS, box=ASCII2)
    for row in found.rows():
        table.add_row(*(escape(cell) for cell in row))
    console = _console()
    console.print()
    console.print(table)
    console.print()
    console.print(f"The result of {escape(found.parent['action']['ref'])}:")
    console.print_json(data=found.parent.get("result"))


def screen() -> dict[str, str]:
    """What tells ``st2`` by its environment where its output is shown."""
    return {
        "COLUMNS": str(_console().width),
        # Any word turns colours off.
        "ST2_COLORIZE": "" if sys.stdout.isatty() else "no",
    }


def _console() -> Console:
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    return Console(width=width, highlight=False)
