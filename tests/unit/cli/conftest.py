"""The commands, run in this process against servers that a test defines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from st2actions_mistral.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with a configuration; return its exit status, stdout and stderr."""

    def run_command(
        *words: str, st2: str, mistral: str, key: str = "k", more: str = ""
    ) -> tuple[int, str, str]:
        file = tmp_path / "mistral.conf"
        file.write_text(
            f"[st2]\napi_url = {st2}\napi_key = {key}\n"
            f"[st2_relay]\nmistral_url = {mistral}/v2\n{more}\n"
        )
        status = main([*words, "--config-file", str(file)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run_command


@pytest.fixture
def workbook(tmp_path: Path) -> str:
    """Return the path of a file with a valid workflow."""
    file = tmp_path / "a.yaml"
    file.write_text("version: '2.0'\nmain: {tasks: {one: {action: std.noop}}}\n")
    return str(file)
