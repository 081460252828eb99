"""The command ``st2-mistral functions``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from st2actions_mistral.cli.function_plugins import Function, list_functions

_DESCRIPTION = """\
List the expression functions that the distributions of this virtualenv bring
for Mistral: those of this package with their arguments, and the names of
Mistral's own and of other plugins. Run it in Mistral's virtualenv.

The JSON is a list of objects with "name", "signature", "description" and
"distribution". Signature and description are null for functions of others.
"""

_HEADS: Final = ("function", "description", "distribution")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "functions",
        help="list the expression functions with their arguments",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the functions as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the functions; return 0."""
    found = list_functions()
    if args.json:
        print(json.dumps([asdict(function) for function in found], indent=2))
    else:
        print(_table(found))
    return 0


def _table(functions: Sequence[Function]) -> str:
    rows = [
        _HEADS,
        *((one.signature or one.name, one.description or "", one.distribution) for one in functions),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )
