"""``st2-mistral``: the commands and how their errors are told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from st2actions_mistral.cli import check, demo, relay, repair, sandbox, status
from st2actions_mistral.errors import St2MistralError

_DESCRIPTION = """\
StackStorm actions as tasks of OpenStack Mistral workflows.

Try it:     st2-mistral demo examples.mistral-basic cmd=date
Look round: st2-mistral sandbox
Run it:     st2-mistral relay --config-file /etc/mistral/mistral.conf
Check it:   st2-mistral check --config-file /etc/mistral/mistral.conf
See it:     st2-mistral status --config-file /etc/mistral/mistral.conf
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="st2-mistral",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (demo, sandbox, relay, check, status, repair):
        command.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: the exit status: 0 done, 1 an error that was told, 2 a command line not understood, 130
        interrupted.
    """
    args = build_parser().parse_args(argv)
    try:
        status: int = args.run(args)
    except St2MistralError as error:
        print(f"st2-mistral: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
