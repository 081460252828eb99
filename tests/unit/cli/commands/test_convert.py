"""Output, files and exit status of ``st2-mistral convert``."""

from __future__ import annotations

import errno
import json
import resource
import signal
from pathlib import Path

import pytest

from st2actions_mistral.cli.main import main

SURE = """\
version: '2.0'
name: p.a
workflows:
  main:
    input: [x]
    tasks:
      one:
        # why
        action: std.echo output="{$.x}"
        policies:
          timeout: 5
"""
CONVERTED = """\
version: '2.0'
name: p.a
workflows:
  main:
    input: [x]
    tasks:
      one:
        # why
        action: std.echo output="<% $.x %>"
        timeout: 5
"""
ASKED = SURE + "        publish: {y: $.x}\n"
DIFF = """\
--- FILE
+++ FILE (today)
@@ -6,6 +6,5 @@
     tasks:
       one:
         # why
-        action: std.echo output="{$.x}"
-        policies:
-          timeout: 5
+        action: std.echo output="<% $.x %>"
+        timeout: 5
"""
DOUBT = "$.x was read as the variable: check that the task's result is not meant"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.yaml"


def test_convert_prints_a_diff_and_keeps_the_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(SURE)
    assert main(["convert", str(file)]) == 0
    assert capsys.readouterr().out == DIFF.replace("FILE", str(file))
    assert file.read_text() == SURE
    assert list(file.parent.iterdir()) == [file]


def test_convert_prints_what_to_decide_with_its_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(ASKED)
    assert main(["convert", str(file)]) == 1
    assert capsys.readouterr().out.endswith(f"\nTo decide:\n{file}:12: {DOUBT}\n")


def test_convert_write_counts_lines_in_the_original(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(ASKED.replace("\n", "\r\n").encode())
    assert main(["convert", "--write", str(file)]) == 1
    new = CONVERTED + "        publish: {y: <% $.x %>}\n"
    assert file.read_bytes() == new.replace("\n", "\r\n").encode()
    original = Path(f"{file}.orig")
    assert original.read_bytes() == ASKED.replace("\n", "\r\n").encode()
    output = capsys.readouterr().out
    assert f"Wrote {file}. The original is in {original}." in output
    assert output.endswith(f"{original}:12: {DOUBT}\n")


def test_convert_never_overwrites_an_original(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SURE)
    original = Path(f"{file}.orig")
    original.write_text("older")
    assert main(["convert", "-w", str(file)]) == 1
    assert f"st2-mistral: {original}: exists already" in capsys.readouterr().err
    assert (file.read_text(), original.read_text()) == (SURE, "older")


def failing(monkeypatch: pytest.MonkeyPatch, file: Path, data: bytes | None = None) -> None:
    """Simulate a disk that is full once ``data`` is written to a file, or at once for None."""
    write = Path.write_bytes

    def no_space(path: Path, given: bytes) -> int:
        if path != file:
            return write(path, given)
        if data is not None:
            write(path, data)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)


def test_failed_write_leaves_no_original_behind(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(SURE)
    with monkeypatch.context() as patch:
        failing(patch, file)
        assert main(["convert", "-w", str(file)]) == 1
    output = capsys.readouterr().err
    assert output == f"st2-mistral: {file}: cannot be written: No space left on device.\n"
    assert file.read_text() == SURE
    assert list(file.parent.iterdir()) == [file]
    assert main(["convert", "-w", str(file)]) == 0


def test_incomplete_write_keeps_the_original(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(SURE)
    failing(monkeypatch, file, CONVERTED[:20].encode())
    assert main(["convert", "-w", str(file)]) == 1
    original = Path(f"{file}.orig")
    assert f"The original is in {original}." in capsys.readouterr().err
    assert original.read_text() == SURE


def test_convert_needs_a_saved_original(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SURE)
    original = Path(f"{file}.orig")
    # A real limit of the size of files.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(SURE) // 2, limit[1]))
    try:
        assert main(["convert", "-w", str(file)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, heeded)
    assert f"st2-mistral: {original}: cannot be written: File too large." in capsys.readouterr().err
    assert file.read_text() == SURE
    assert list(file.parent.iterdir()) == [file]


def test_convert_with_nothing_to_convert(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(CONVERTED)
    assert main(["convert", "-w", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: nothing to convert.\n"
    assert list(file.parent.iterdir()) == [file]


def test_convert_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(ASKED)
    assert main(["convert", "--json", str(file)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "file": str(file),
        "changed": True,
        "text": CONVERTED + "        publish: {y: <% $.x %>}\n",
        "undecided": [{"line": 12, "message": DOUBT}],
        "problem": None,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff\xfe", "cannot be read: 'utf-8' codec"),
        (b"name: [\n", "is not valid YAML: line 2"),
        (b"Workflow: {}\n", "is written in DSL v1"),
    ],
)
def test_convert_rejects_unreadable_files(
    file: Path, content: bytes | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        file.write_bytes(content)
    assert main(["convert", str(file)]) == 1
    assert f"st2-mistral: {file}: {words}" in capsys.readouterr().err


def test_convert_json_of_an_unreadable_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--json", str(file)]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "file": str(file),
        "changed": False,
        "text": None,
        "undecided": [],
        "problem": {
            "line": None,
            "message": f"{file}: cannot be read: No such file or directory.",
        },
    }
    assert captured.err == ""


def test_convert_json_has_the_line_of_an_anchor(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SURE.replace("one:", "one: &std"))
    assert main(["convert", "--json", str(file)]) == 1
    problem = json.loads(capsys.readouterr().out)["problem"]
    assert problem["line"] == 7
    assert "Replace the anchor &std with the full text." in problem["message"]
