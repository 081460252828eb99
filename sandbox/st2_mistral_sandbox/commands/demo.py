"""``st2-mistral demo``"""

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
Start a sandbox, run an example in it as StackStorm would, and show what came of it.

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
        help="run an example in a sandbox and show what came of it",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("example", nargs="?", help=f"which one (default: {_DEFAULT[0]} cmd=date)")
    parser.add_argument(
        "parameters",
        nargs="*",
        metavar="key=value",
        help="the example's parameters; a list as a,b,c, an object as JSON",
    )
    parser.add_argument("--list", action="store_true", help="list the examples and end")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the outcome as JSON")
    shown.add_argument(
        "--st2",
        metavar="COMMAND",
        help="type it all with StackStorm's own command line, and show that: make the action, run it,"
        " list the executions, show the one",
    )
    parser.add_argument(
        "--timeout", type=float, default=120, help="seconds to wait for the end (default: 120)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one example; 0 where it succeeded."""
    # Here: --help of any command would wait for these imports.
    from st2_mistral_sandbox import example_run, examples, st2_session, terminal

    if args.list:
        terminal.examples(examples.load().values())
        return 0
    name, given = wanted(args.example, args.parameters)
    example = examples.named(name)
    parameters = parse_parameters(given, example.parameters)
    st2 = _command(args.st2) if args.st2 else None
    interrupt_on_signals()
    with terminal.Progress() as progress:
        if st2:
            outcome = st2_session.run(
                example,
                given,
                st2,
                screen=terminal.screen(),
                timeout=args.timeout,
                progress=progress,
            )
        else:
            outcome = example_run.run(example, parameters, timeout=args.timeout, progress=progress)
    if args.json:
        print(json.dumps(outcome.as_dict(), indent=2))
    elif not st2:
        terminal.outcome(outcome)
    if outcome.parent["status"] != states.ST2_SUCCEEDED:
        print(f"{example.ref} {outcome.parent['status']}.", file=sys.stderr)
        return 1
    return 0


def wanted(example: str | None, parameters: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The example and its parameters, of what was typed; the default one where none is named."""
    if example is None:
        return _DEFAULT
    if "=" in example:
        return _DEFAULT[0], [example, *parameters]
    return example, parameters


def parse_parameters(given: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """``key=value`` as StackStorm's command line reads it, by the type of the parameter.

    :param known: the example's parameters and their schemas. One that is immutable is not for the
        caller to give.
    :raises InputError: a word without ``=``, a parameter that the example does not have or that is
        missing, or a value that is not of its type.
    """
    known = {name: schema for name, schema in known.items() if not schema.get("immutable")}
    parameters = {}
    for word in given:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(word, "write parameters as key=value.")
        if name not in known:
            has = ", ".join(known) or "none"
            raise InputError(name, f"is no parameter of this example; it has {has}.")
        parameters[name] = _value(name, text, known[name].get("type", "string"))
    for name, schema in known.items():
        if schema.get("required") and "default" not in schema and name not in parameters:
            raise InputError(name, f"is required: write {name}=value.")
    return parameters


def _command(name: str) -> Path:
    """:raises InputError: there is none."""
    found = shutil.which(name)
    if found is None:
        raise InputError("--st2", f"{name!r:.200} is no command.")
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
