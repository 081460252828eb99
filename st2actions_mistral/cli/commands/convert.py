"""The command ``st2-mistral convert``."""

from __future__ import annotations

import argparse
import difflib
import json
from pathlib import Path
from typing import Any

from st2actions_mistral.errors import InputError
from st2actions_mistral.migrate.convert import convert
from st2actions_mistral.migrate.packs import Packs

_DESCRIPTION = """\
Convert a workbook in Mistral's DSL v2 of 2014 to today's language.

  policies: {timeout: 5}      moves up into the task
  on-finish, parameters       become on-complete and input
  node: $.candidate           becomes node: <% $.candidate %>
  "Promoted {$.candidate}"    becomes "Promoted <% $.candidate %>"
  publish: {id: $.id}         becomes publish: {id: <% task('name').result.id %>}

The changes are printed as a diff, followed by the places that only you can decide, with their lines:

  st2-mistral convert rolling-upgrade.yaml

What the result of a StackStorm action looks like depends on its runner. Runners are read from the
metadata of the pack that FILE is in (PACK/actions), of the packs beside it, and of those in the folders
that --packs names:

  st2-mistral convert --packs /opt/stackstorm/packs rolling-upgrade.yaml

Nothing is written without -w. With -w the original is kept as FILE.orig, and the lines are those of
FILE.orig. Text in today's language is not changed. Validate the result with

  st2-mistral validate --config-file /etc/mistral/mistral.conf rolling-upgrade.yaml

The exit status is 0 if there is nothing to decide, and 1 if there is, or if the file cannot be read.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "convert",
        help="convert a workbook of 2014 to today's language",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a workbook or a workflow, as YAML")
    parser.add_argument(
        "-w", "--write", action="store_true", help="write FILE, and keep the original as FILE.orig"
    )
    parser.add_argument(
        "--packs",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="a folder of StackStorm packs, for the runners of their actions; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert one file, and return 0 if there is nothing to decide.

    :raises InputError: the file cannot be read or written, or is not DSL v2. With ``--json`` this is
        printed instead.
    """
    try:
        return _run(args)
    except InputError as error:
        if not args.json:
            raise
        problem = {"line": error.line, "message": str(error)}
        print(json.dumps(_answer(args.file, problem=problem), indent=2))
        return 1


def _run(args: argparse.Namespace) -> int:
    file: Path = args.file
    old = _read(file)
    converted = convert(old, str(file), Packs(file, *args.packs).runner)
    changed = converted.text != old
    original = file.with_name(f"{file.name}.orig")
    if changed and args.write:
        _write(file, original, old, converted.text)
    shown = str(original if changed and args.write else file)
    if args.json:
        undecided = [{"line": one.line, "message": one.message} for one in converted.undecided]
        answer = _answer(shown, changed=changed, text=converted.text, undecided=undecided)
        print(json.dumps(answer, indent=2))
        return 1 if undecided else 0
    if changed:
        print(_diff(old, converted.text, str(file)), end="")
    else:
        print(f"{file}: nothing to convert.")
    if changed and args.write:
        print(f"\nWrote {file}. The original is in {original}.")
    if converted.undecided:
        print("\nTo decide:")
    for one in converted.undecided:
        print(f"{shown}:{one.line}: {one.message}")
    return 1 if converted.undecided else 0


def _answer(file: str | Path, **found: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"changed": False, "text": None, "undecided": [], "problem": None}
    return {"file": str(file), **nothing, **found}


def _read(file: Path) -> str:
    try:
        # Read bytes: line ends must not change.
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"cannot be read: {_reason(error)}.") from error


def _write(file: Path, original: Path, old: str, text: str) -> None:
    """Save the original, then write the file.

    :raises InputError: one of the two cannot be written. Then the file is unchanged and there is no
        copy of it; or it is incomplete, and the message names the copy.
    """
    _save(original, old)
    try:
        file.write_bytes(text.encode())
    except OSError as error:
        problem = f"cannot be written: {_reason(error)}."
        if not _contains(file, old):
            raise InputError(str(file), f"{problem} The original is in {original}.") from error
        # The next attempt fails if the copy exists.
        original.unlink(missing_ok=True)
        raise InputError(str(file), problem) from error


def _save(original: Path, old: str) -> None:
    try:
        target = original.open("xb")
    except FileExistsError as error:
        raise InputError(str(original), "exists already: move it away first.") from error
    except OSError as error:
        raise InputError(str(original), f"cannot be written: {_reason(error)}.") from error
    try:
        with target:
            target.write(old.encode())
    except OSError as error:
        # The copy is incomplete, and the file itself is unchanged.
        original.unlink(missing_ok=True)
        raise InputError(str(original), f"cannot be written: {_reason(error)}.") from error


def _contains(file: Path, text: str) -> bool:
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
    # As diff(1) marks a last line without a line end.
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
