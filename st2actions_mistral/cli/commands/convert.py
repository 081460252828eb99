"""``st2-mistral convert``"""

from __future__ import annotations

import argparse
import difflib
import json
from pathlib import Path
from typing import Any

from st2actions_mistral.dsl.legacy import convert
from st2actions_mistral.errors import InputError

_DESCRIPTION = """\
Make a workbook in Mistral's DSL v2 of 2014 one that today's Mistral understands.

  policies: {timeout: 5}      moves up into the task
  on-finish, parameters       are on-complete and input
  node: $.candidate           becomes  node: <% $.candidate %>
  "Promoted {$.candidate}"    becomes  "Promoted <% $.candidate %>"
  publish: {id: $.id}         becomes  publish: {id: <% task('name').result.id %>}

The changes are printed as a diff, and below it what only you can decide, each with its line:

  st2-mistral convert rolling-upgrade.yaml

The file stays as it is, unless -w is given; then FILE.orig is what it was, and the lines are those of
FILE.orig. What is written for today comes back unchanged. Have a look at the result with

  st2-mistral validate --config-file /etc/mistral/mistral.conf rolling-upgrade.yaml

The exit status is 0 if all is decided, and 1 if something is not, or if the file cannot be read.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert",
        help="bring a workbook of 2014 into today's language",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a workbook or a workflow, as YAML")
    parser.add_argument(
        "-w", "--write", action="store_true", help="write FILE, and keep what it was as FILE.orig"
    )
    parser.add_argument("--json", action="store_true", help="print all as JSON, with the new text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert one file; 0 where nothing is left to decide.

    :raises InputError: the file cannot be read or written, or holds no DSL v2, and that is not to be
        told as JSON.
    """
    try:
        return _run(args)
    except InputError as error:
        if not args.json:
            raise
        problem = {"line": error.line, "words": str(error)}
        print(json.dumps(_answer(args.file, problem=problem), indent=2))
        return 1


def _run(args: argparse.Namespace) -> int:
    file: Path = args.file
    old = _read(file)
    converted = convert(old, str(file))
    changed = converted.text != old
    kept = file.with_name(f"{file.name}.orig")
    if changed and args.write:
        _write(file, kept, old, converted.text)
    seen = str(kept if changed and args.write else file)
    if args.json:
        undecided = [{"line": one.line, "words": one.words} for one in converted.undecided]
        answer = _answer(seen, changed=changed, text=converted.text, undecided=undecided)
        print(json.dumps(answer, indent=2))
        return 1 if undecided else 0
    if changed:
        print(_diff(old, converted.text, str(file)), end="")
    else:
        print(f"{file}: nothing to convert.")
    if changed and args.write:
        print(f"\nWritten: {file}. What it was is in {kept}.")
    if converted.undecided:
        print("\nNot decided:")
    for one in converted.undecided:
        print(f"{seen}:{one.line}: {one.words}")
    return 1 if converted.undecided else 0


def _answer(file: str | Path, **found: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"changed": False, "text": None, "undecided": [], "problem": None}
    return {"file": str(file), **nothing, **found}


def _read(file: Path) -> str:
    try:
        # Not as text: the line ends are to stay.
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"cannot be read: {_reason(error)}.") from error


def _write(file: Path, kept: Path, old: str, text: str) -> None:
    """Keep what the file was, then write it.

    :raises InputError: one of the two cannot be. What the file was is then in it still, and nothing is
        kept; or it is in what is kept, and the text says so.
    """
    _keep(kept, old)
    try:
        file.write_bytes(text.encode())
    except OSError as error:
        problem = f"cannot be written: {_reason(error)}."
        if not _holds(file, old):
            raise InputError(str(file), f"{problem} What it was is in {kept}.") from error
        # Else it would be in the way of the next try.
        kept.unlink(missing_ok=True)
        raise InputError(str(file), problem) from error


def _keep(kept: Path, old: str) -> None:
    try:
        target = kept.open("xb")
    except FileExistsError as error:
        problem = "is there already, and is not overwritten: move it away first."
        raise InputError(str(kept), problem) from error
    except OSError as error:
        raise InputError(str(kept), f"cannot be written: {_reason(error)}.") from error
    try:
        with target:
            target.write(old.encode())
    except OSError as error:
        # Ours, and half of it: the file itself has not been touched.
        kept.unlink(missing_ok=True)
        raise InputError(str(kept), f"cannot be written: {_reason(error)}.") from error


def _holds(file: Path, text: str) -> bool:
    try:
        return file.read_bytes() == text.encode()
    except OSError:
        return False


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _diff(old: str, new: str, name: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), name, f"{name} (today)"
    )
    # diff(1) says so of a last line without an end.
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
