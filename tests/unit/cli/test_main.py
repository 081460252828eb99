"""``st2-mistral`` itself, for every command: how it starts and exits."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from st2actions_mistral.cli.main import main

COMMAND = [sys.executable, "-m", "st2actions_mistral.cli.main"]

OF_2014 = "version: '2.0'\nname: a\nworkflows: {main: {tasks: {one: {action: std.echo output=$.x}}}}\n"

# Raises KeyboardInterrupt while a command is imported.
INTERRUPTED = """\
import sys
class Interrupts:
    def find_spec(name, *_):
        if name == "st2actions_mistral.cli.commands.relay":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts)
from st2actions_mistral.cli.main import main
sys.exit(main(["convert", "--help"]))
"""


@pytest.mark.parametrize("words", [["--help"], ["convert", "FILE"], ["convert", "--json", "FILE"]])
def test_a_closed_pipe_ends_it_without_a_message(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(OF_2014)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, *(str(file) if word == "FILE" else word for word in words)],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            # Without a buffer, nothing would be left to write at exit.
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_interrupt_during_imports_exits_with_130() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"st2-mistral {metadata.version('st2actions-mistral')}\n"
