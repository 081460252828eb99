"""``st2-mistral check``"""

from __future__ import annotations

import argparse
import json
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.cli.common import add_config_file, needs_extra

_DESCRIPTION = """\
Look at an installation and say what is wrong with it: entry points, options, StackStorm (who are we,
what may we, the event stream), Mistral, sizes and clocks that disagree, results that nobody brings.

Run it from Mistral's virtualenv on the hosts of executors and of the relay. It changes nothing, but
for --probe, which runs core.noop through both systems.

The exit status is 1 if a check failed.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="say what is wrong with an installation",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_file(parser)
    parser.add_argument(
        "--probe", action="store_true", help="also run core.noop and wait for its result"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run all checks; 0 where none failed."""
    with needs_extra("relay"):
        from st2actions_mistral.cli.checks import FAILED, Checks

    findings = []
    for finding in Checks(config.read_files(args.config_file)).run(probe=args.probe):
        findings.append(finding)
        if not args.json:
            print(f"{finding.result:<8} {finding.check:<24} {finding.detail}", flush=True)
    if args.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    return 1 if any(finding.result == FAILED for finding in findings) else 0
