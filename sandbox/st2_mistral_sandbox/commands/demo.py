"""Run ``st2-mistral demo``: an example in a sandbox of its own."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from st2actions_mistral.cli.common import interrupt_on_signals
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states

_DESCRIPTION = """\
Start a sandbox, run an example in it, show its executions and result, and stop the sandbox.

  st2-mistral demo examples.mistral-basic cmd=date
  st2-mistral demo mongodb-rolling-upgrade duration=2
  st2-mistral demo --st2 /path/to/st2 examples.mistral-basic cmd=date
  st2-mistral demo --list
"""

_DEFAULT: Final = ("examples.mistral-basic", ["cmd=date"])


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="run an example in a sandbox and show its result",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "example", nargs="?", help=f"name of the example (default: {_DEFAULT[0]} cmd=date)"
    )
    parser.add_argument(
        "parameters",
        nargs="*",
        metavar="key=value",
        help="parameters of the example; write a list as a,b,c and an object as JSON",
    )
    parser.add_argument("--list", action="store_true", help="list the examples and exit")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--json", action="store_true", help="print the executions and the result as JSON"
    )
    shown.add_argument(
        "--st2",
        metavar="COMMAND",
        help="run the example with this st2 command, and show the commands and their output:"
        " create the action, run it, list the executions, show the workflow's execution",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=120,
        help="seconds to wait for the end of the example (default: 120)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run an example; return 0 if it succeeded."""
    # Here: --help of any command would wait for these imports.
    from st2_mistral_sandbox import example_run, examples, st2_session, terminal

    if args.list:
        terminal.print_examples(examples.load().values())
        return 0
    name, given = select_example(args.example, args.parameters)
    example = examples.find(name)
    parameters = parse_parameters(given, example.parameters)
    st2 = _command(args.st2) if args.st2 else None
    interrupt_on_signals()
    with terminal.Progress() as progress:
        if st2:
            outcome = st2_session.run(
                example,
                given,
                st2,
                terminal=terminal.environment(),
                timeout=args.timeout,
                progress=progress,
            )
        else:
            outcome = example_run.run(example, parameters, timeout=args.timeout, progress=progress)
    if args.json:
        print(json.dumps(outcome.as_dict(), indent=2))
    elif not st2:
        terminal.print_outcome(outcome)
    if outcome.parent["status"] != states.ST2_SUCCEEDED:
        print(f"{example.ref} {outcome.parent['status']}.", file=sys.stderr)
        return 1
    return 0


def select_example(example: str | None, parameters: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the example and the parameters of a command line, by default those of :data:`_DEFAULT`."""
    if example is None:
        return _DEFAULT
    if "=" in example:
        return _DEFAULT[0], [example, *parameters]
    return example, parameters


def parse_parameters(given: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Parse ``key=value`` by the type of the parameter, as StackStorm's command line does.

    :param known: the schemas of the example's parameters. The caller may not set an immutable one.
    :raises InputError: an argument without ``=``, an unknown or missing parameter, or a value of
        another type.
    """
    known = {name: schema for name, schema in known.items() if not schema.get("immutable")}
    parameters = {}
    for argument in given:
        name, equals, text = argument.partition("=")
        if not equals:
            raise InputError(argument, "write parameters as key=value.")
        if name not in known:
            has = ", ".join(known) or "none"
            raise InputError(name, f"is an unknown parameter; the parameters are: {has}.")
        parameters[name] = _value(name, text, known[name].get("type", "string"))
    for name, schema in known.items():
        if schema.get("required") and "default" not in schema and name not in parameters:
            raise InputError(name, f"is required: write {name}=value.")
    return parameters


def _command(name: str) -> Path:
    """Return the path of a command.

    :raises InputError: it does not exist.
    """
    found = shutil.which(name)
    if found is None:
        raise InputError("--st2", f"there is no command {name!r:.200}.")
    return Path(found)


def _value(name: str, text: str, kind: str) -> Any:
    if kind == "string":
        return text
    if kind == "array" and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(name, f"{text!r:.80} is not of type {kind}.") from error
