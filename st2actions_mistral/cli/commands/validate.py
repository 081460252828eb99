"""The command ``st2-mistral validate``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.cli.common import add_config_file, require_extra

_DESCRIPTION = """\
Check workbooks and workflows before they run. Nothing is published, and
nothing runs.

Each file is parsed as YAML and validated by Mistral, and each of its actions
is looked up in Mistral and in StackStorm: does it exist, is it enabled, are its
required parameters given, and no unknown ones, and do literal values have the
types that it declares? StackStorm actions are found by their
plain names (action: core.local cmd="date") and as the ref of st2.action. A
name that an expression computes (action: <% $.action %>) cannot be checked.

Functions in expressions are checked as well. An unknown one whose name is like
that of a known one is a problem. Any other unknown one is a warning: a plugin
of Mistral may bring it. The plugins of this virtualenv are known.

  st2-mistral validate --config-file /etc/mistral/mistral.conf FILE...

The command asks both systems, at [st2] api_url and [st2_relay] mistral_url.
It reports all problems with their lines. Files that are given together may
use each other's workflows.

The exit status is 0, or 1 if a file is invalid or a system does not respond.
The JSON is a list of objects with "file", "kind" (workbook or workflow),
"name", "valid", "problems" and "warnings", each with "line" and "message".
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "validate",
        help="check workbooks and workflows without running them",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a YAML file with a workbook or a workflow"
    )
    add_config_file(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check all files; return 1 if one is invalid, else 0."""
    with require_extra("relay"):
        from st2actions_mistral.cli.clients import open_clients
        from st2actions_mistral.cli.file_report import report, workflows_of
        from st2actions_mistral.cli.function_plugins import installed_functions
        from st2actions_mistral.runner.catalogue import ActionCatalogue

    reports = []
    functions = installed_functions()
    with open_clients(config.load_settings(config.read_files(args.config_file))) as (st2, mistral):
        catalogue = ActionCatalogue(st2.action, mistral, workflows_of(args.files))
        for file in args.files:
            if sys.stderr.isatty() and not args.json:
                # Mistral takes a second or more for each task of a workbook.
                print(f"Checking {file} …", file=sys.stderr, flush=True)
            found = report(file, catalogue, mistral, functions)
            reports.append(found)
            if args.json:
                continue
            if not found.problems:
                print(f"valid    {found.file}  {found.kind} {found.name}", flush=True)
            for kind, problems in (("invalid", found.problems), ("warning", found.warnings)):
                for problem in problems:
                    place = f"{found.file}:{problem.line}" if problem.line else found.file
                    print(f"{kind}  {place}  {problem.message}", flush=True)
    if args.json:
        print(json.dumps([found.as_dict() for found in reports], indent=2))
    return 1 if any(found.problems for found in reports) else 0
