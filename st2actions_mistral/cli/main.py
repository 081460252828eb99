"""``st2-mistral``: the parser of all commands, and their exit statuses."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from st2actions_mistral.errors import St2MistralError

_DESCRIPTION = """\
Connect StackStorm and OpenStack Mistral: StackStorm actions are tasks of
Mistral workflows, and Mistral workflows are actions of StackStorm.

Try it in a sandbox (distribution st2-mistral-sandbox):
  st2-mistral demo examples.mistral-basic cmd=date

Install it, check the installation, and run the relay beside Mistral:
  st2-mistral check --config-file /etc/mistral/mistral.conf
  st2-mistral relay --config-file /etc/mistral/mistral.conf

See what is pending, and what the relay would do next:
  st2-mistral status --config-file /etc/mistral/mistral.conf

Explain one command:
  st2-mistral COMMAND --help
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    # Imported here, where main() handles Ctrl-C: it takes most of a second.
    from st2actions_mistral.cli import plugins
    from st2actions_mistral.cli.commands import (
        actions,
        check,
        convert,
        functions,
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
    for command in (relay, check, validate, convert, functions, actions, status, repair):
        command.add_to(commands)
    plugins.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: the exit status: 0 success, 1 an error that was printed, 2 an invalid command line, 130
        interrupted, 141 the reader of the output went away (as a shell shows SIGPIPE).
    """
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Flushing the rest of the buffer at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = build_parser().parse_args(argv)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Names of files and tasks may have characters that the encoding has not.
            sys.stdout.reconfigure(errors="backslashreplace")
        status: int = args.run(args)
    except St2MistralError as error:
        print(f"st2-mistral: {error}", file=sys.stderr)
        return 1
    finally:
        # Also after --help, which raises SystemExit. None if the process started without a stdout.
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
