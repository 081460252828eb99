"""``st2-mistral validate``"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.cli.common import add_config_file, needs_extra

_DESCRIPTION = """\
Look at workbooks and workflows before they run. Nothing is published, and nothing runs.

Each file is read as YAML, Mistral says whether it is valid, and each action in it is looked up in
Mistral and in StackStorm: is there one of the name, are its required parameters given, and no others?
Actions of StackStorm are found under their plain names (action: core.local cmd="date") and below
st2.action. What only an expression tells, such as action: <% $.action %>, cannot be known beforehand.

  st2-mistral validate --config-file /etc/mistral/mistral.conf examples/actions/*.yaml

Both systems are asked: [st2] api_url and [st2_relay] mistral_url say where they are. All problems are
told at once, with their lines. The exit status is 1 if a file has one, or if a system cannot be asked.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "validate",
        help="look at workbooks and workflows without running them",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a workbook or a workflow, as YAML"
    )
    add_config_file(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at all files; 0 where they are valid."""
    with needs_extra("relay"):
        from st2actions_mistral.cli.clients import both
        from st2actions_mistral.cli.validation import look_at, workflows_of
        from st2actions_mistral.runner.catalogue import Actions

    verdicts = []
    with both(config.load_settings(config.read_files(args.config_file))) as (st2, mistral):
        catalogue = Actions(st2.action_parameters, mistral, workflows_of(args.files))
        for file in args.files:
            if sys.stderr.isatty() and not args.json:
                # Mistral takes a second or more for each task of a workbook.
                print(f"Checking {file} …", file=sys.stderr, flush=True)
            verdict = look_at(file, catalogue, mistral)
            verdicts.append(verdict)
            if args.json:
                continue
            if not verdict.problems:
                print(f"valid    {verdict.file}  {verdict.kind} {verdict.name}", flush=True)
            for problem in verdict.problems:
                place = f"{verdict.file}:{problem.line}" if problem.line else verdict.file
                print(f"invalid  {place}  {problem.message}", flush=True)
    if args.json:
        print(json.dumps([verdict.as_dict() for verdict in verdicts], indent=2))
    return 1 if any(verdict.problems for verdict in verdicts) else 0
