"""The command ``st2-mistral check``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.cli.common import add_config_file, require_extra

_DESCRIPTION = """\
Check an installation and say how to repair it.

The checks: entry points, options, StackStorm (credential, permissions,
event stream), notifier, Mistral (actions, project of the relay's token,
policy, options that hide actions, the provider of native actions, database,
scheduler), size limit, clocks, and results that no relay delivers.

Run it in Mistral's virtualenv, on the hosts of the executors and of the
relay. It changes nothing and runs nothing in StackStorm, except that --probe
runs core.noop as an action of Mistral, waits for its result, and checks that
the execution is in the StackStorm of this configuration.

  st2-mistral check --config-file /etc/mistral/mistral.conf --probe
  st2-mistral check --config-file /etc/mistral/mistral.conf --probe --project a

The exit status is 0, or 1 if a check failed; a warning does not change it.
The JSON is a list of objects with "check", "result" (ok, warning, failed or
skipped) and "detail".
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="check an installation and say how to repair it",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_file(parser)
    parser.add_argument(
        "--probe", action="store_true", help="also run core.noop and wait for its result"
    )
    parser.add_argument(
        "--project",
        metavar="NAME_OR_ID",
        help="the project to check, and to run core.noop in (default: that of the relay's token)",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run all checks; return 1 if one failed, else 0."""
    findings = []
    # Reading the options imports keystoneauth.
    with require_extra("relay"):
        from st2actions_mistral.cli.checks.finding import FAILED
        from st2actions_mistral.cli.checks.run import run_checks

        for finding in run_checks(
            config.read_files(args.config_file), probe=args.probe, project=args.project
        ):
            findings.append(finding)
            if not args.json:
                print(f"{finding.result:<8} {finding.check:<13} {finding.detail}", flush=True)
    if args.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    return 1 if any(finding.result == FAILED for finding in findings) else 0
