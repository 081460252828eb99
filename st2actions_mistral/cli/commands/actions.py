"""The command ``st2-mistral actions``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.cli.common import add_config_file
from st2actions_mistral.config.provider import load_provider_settings
from st2actions_mistral.errors import InputError
from st2actions_mistral.model.signature import Signature
from st2actions_mistral.provider.listing import read_actions

_DESCRIPTION = """\
List the StackStorm actions that workflows of Mistral can call by their own
names, with their parameters. A parameter without a default is required.

Mistral has them if [st2_provider] enabled is set. [st2_provider] packs chooses
the packs. The list comes from StackStorm, as Mistral gets it; an action that
Mistral or one of its users has under the same name wins over it.

  st2-mistral actions --pack core

A task calls an action by its name, and names its parameters:

  say:
    action: core.local
    input:
      cmd: <% $.cmd %>
      timeout: 5

The JSON is a list of objects with "name", "pack", "signature", "input" and
"description".
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "actions",
        help="list the StackStorm actions that workflows can call by name",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_file(parser)
    parser.add_argument(
        "--pack",
        action="append",
        default=[],
        metavar="PACK",
        help="list the actions of this pack only; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the actions as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the actions; return 0."""
    conf = config.read_files(args.config_file)
    settings = load_provider_settings(conf)
    listing = read_actions(config.load_bridge_settings(conf).st2, settings)
    found = [action for action in listing.actions if not args.pack or action.pack in args.pack]
    for pack in args.pack:
        if not any(action.pack == pack for action in found):
            hidden = "" if settings.has_pack(pack) else " [st2_provider] packs does not name it."
            raise InputError("--pack", f"there is no action of the pack {pack!r:.100}.{hidden}")
    if args.json:
        print(json.dumps(list(map(_as_dict, found)), indent=2))
    else:
        _print(found)
    if not settings.enabled:
        print("Mistral does not have them: [st2_provider] enabled is false.", file=sys.stderr)
    if listing.is_cut:
        print(
            f"StackStorm has more actions than [st2_provider] max_actions, {settings.max_actions}.",
            file=sys.stderr,
        )
    return 0


def _as_dict(action: Signature) -> dict[str, str]:
    return {
        "name": action.ref,
        "pack": action.pack,
        "signature": str(action),
        "input": action.spec,
        "description": action.description,
    }


def _print(actions: Iterable[Signature]) -> None:
    """Print two lines for each action: some signatures have hundreds of characters."""
    for action in actions:
        print(action)
        if action.description.strip():
            print(f"    {action.description.strip().splitlines()[0]}")
