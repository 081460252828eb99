"""``st2-mistral``: the commands and how their errors are told."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from st2actions_mistral.errors import St2MistralError

_DESCRIPTION = """\
StackStorm actions as tasks of OpenStack Mistral workflows.

Try it:     st2-mistral demo examples.mistral-basic cmd=date
Look round: st2-mistral sandbox
Run it:     st2-mistral relay --config-file /etc/mistral/mistral.conf
Check it:   st2-mistral check --config-file /etc/mistral/mistral.conf
Look first: st2-mistral validate --config-file /etc/mistral/mistral.conf FILE…
From 2014:  st2-mistral convert FILE
See it:     st2-mistral status --config-file /etc/mistral/mistral.conf
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    # Here, so that Ctrl-C is heeded meanwhile: this is most of a second.
    from st2actions_mistral.cli import plugins
    from st2actions_mistral.cli.commands import (
        check,
        convert,
        pause,
        relay,
        repair,
        status,
        validate,
    )

    parser = argparse.ArgumentParser(
        prog="st2-mistral",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"st2-mistral {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (relay, check, validate, convert, status, repair, pause):
        command.add_to(commands)
    plugins.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: the exit status: 0 done, 1 an error that was told, 2 a command line not understood, 130
        interrupted, 141 nobody reads the output any more (what a shell shows of SIGPIPE).
    """
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What is left in the buffer would fail again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = build_parser().parse_args(argv)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Names of files and tasks may hold what no encoding can say.
            sys.stdout.reconfigure(errors="backslashreplace")
        status: int = args.run(args)
    except St2MistralError as error:
        print(f"st2-mistral: {error}", file=sys.stderr)
        return 1
    finally:
        # Also after --help, which ends in SystemExit. None where stdout was closed from the beginning.
        if sys.stdout is not None:
            sys.stdout.flush()
    return status


def _version() -> str:
    try:
        return metadata.version("st2actions-mistral")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
