"""``st2-mistral convert``: what it prints, writes and returns."""

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
DOUBT = "$.x was taken as the variable; or is it of the task's result?"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.yaml"


def test_the_diff_is_shown_and_the_file_left(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SURE)
    assert main(["convert", str(file)]) == 0
    assert capsys.readouterr().out == DIFF.replace("FILE", str(file))
    assert file.read_text() == SURE
    assert list(file.parent.iterdir()) == [file]


def test_what_is_not_decided_is_told_with_its_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(ASKED)
    assert main(["convert", str(file)]) == 1
    assert capsys.readouterr().out.endswith(f"\nNot decided:\n{file}:12: {DOUBT}\n")


def test_written_the_lines_are_those_of_what_it_was(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(ASKED.replace("\n", "\r\n").encode())
    assert main(["convert", "--write", str(file)]) == 1
    new = CONVERTED + "        publish: {y: <% $.x %>}\n"
    assert file.read_bytes() == new.replace("\n", "\r\n").encode()
    kept = Path(f"{file}.orig")
    assert kept.read_bytes() == ASKED.replace("\n", "\r\n").encode()
    told = capsys.readouterr().out
    assert f"Written: {file}. What it was is in {kept}." in told
    assert told.endswith(f"{kept}:12: {DOUBT}\n")


def test_what_it_was_is_never_overwritten(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SURE)
    kept = Path(f"{file}.orig")
    kept.write_text("older")
    assert main(["convert", "-w", str(file)]) == 1
    assert f"st2-mistral: {kept}: is there already" in capsys.readouterr().err
    assert (file.read_text(), kept.read_text()) == (SURE, "older")


def failing(monkeypatch: pytest.MonkeyPatch, file: Path, data: bytes | None = None) -> None:
    """A disk that is full once ``data`` of a file is written; None: it is not even opened."""
    write = Path.write_bytes

    def no_space(path: Path, given: bytes) -> int:
        if path != file:
            return write(path, given)
        if data is not None:
            write(path, data)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(SURE)
    with monkeypatch.context() as patch:
        failing(patch, file)
        assert main(["convert", "-w", str(file)]) == 1
    told = capsys.readouterr().err
    assert told == f"st2-mistral: {file}: cannot be written: No space left on device.\n"
    assert file.read_text() == SURE
    assert list(file.parent.iterdir()) == [file]
    assert main(["convert", "-w", str(file)]) == 0


def test_a_file_that_was_half_written_stays_as_it_was_beside_it(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(SURE)
    failing(monkeypatch, file, CONVERTED[:20].encode())
    assert main(["convert", "-w", str(file)]) == 1
    kept = Path(f"{file}.orig")
    assert f"What it was is in {kept}." in capsys.readouterr().err
    assert kept.read_text() == SURE


def test_what_cannot_be_kept_is_not_written(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SURE)
    kept = Path(f"{file}.orig")
    # A disk without room for more, for real.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(SURE) // 2, limit[1]))
    try:
        assert main(["convert", "-w", str(file)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, heeded)
    assert f"st2-mistral: {kept}: cannot be written: File too large." in capsys.readouterr().err
    assert file.read_text() == SURE
    assert list(file.parent.iterdir()) == [file]


def test_nothing_to_convert(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(CONVERTED)
    assert main(["convert", "-w", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: nothing to convert.\n"
    assert list(file.parent.iterdir()) == [file]


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(ASKED)
    assert main(["convert", "--json", str(file)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "file": str(file),
        "changed": True,
        "text": CONVERTED + "        publish: {y: <% $.x %>}\n",
        "undecided": [{"line": 12, "words": DOUBT}],
        "problem": None,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff\xfe", "cannot be read: 'utf-8' codec"),
        (b"name: [\n", "is no YAML: line 2"),
        (b"Workflow: {}\n", "is not in DSL v2 but older"),
    ],
)
def test_what_cannot_be_read(
    file: Path, content: bytes | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        file.write_bytes(content)
    assert main(["convert", str(file)]) == 1
    assert f"st2-mistral: {file}: {words}" in capsys.readouterr().err


def test_what_cannot_be_read_is_told_as_json_too(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "--json", str(file)]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "file": str(file),
        "changed": False,
        "text": None,
        "undecided": [],
        "problem": {
            "line": None,
            "words": f"{file}: cannot be read: No such file or directory.",
        },
    }
    assert said.err == ""


def test_anchors_are_told_with_their_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SURE.replace("one:", "one: &std"))
    assert main(["convert", "--json", str(file)]) == 1
    problem = json.loads(capsys.readouterr().out)["problem"]
    assert problem["line"] == 7
    assert "has the anchor &std, which Mistral does not read: write it out." in problem["words"]
