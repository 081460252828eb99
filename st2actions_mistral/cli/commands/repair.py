"""The command ``st2-mistral repair``."""

from __future__ import annotations

import argparse
import threading
from dataclasses import replace
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.bridge.request import request_parser
from st2actions_mistral.cli.common import add_config_file, require_extra
from st2actions_mistral.errors import InputError

_DESCRIPTION = """\
Handle one pending action now, as the relay would after its time limits:
complete it with the result of its execution, cancel the execution if Mistral
needs no result any more, reschedule it if it has no execution, or complete it
as ERROR if none can be created. st2-mistral status shows what it would be.

An action whose execution was deleted in StackStorm is rescheduled. An action
without an execution that is younger than reschedule_after is rejected, since
an executor may be about to create the execution.

  st2-mistral repair ACTION_EXECUTION_ID --config-file /etc/mistral/mistral.conf
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "repair",
        help="handle one pending action now",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", metavar="ACTION_EXECUTION_ID", help="as st2-mistral status shows it")
    parser.add_argument(
        "--force", action="store_true", help="reschedule it at any age: no executor has it"
    )
    add_config_file(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Handle the action, and print what was done."""
    with require_extra("relay"):
        from st2actions_mistral.cli.clients import (
            advise_repeating,
            open_clients,
            project_clients,
            unknown_to_mistral,
        )
        from st2actions_mistral.relay.actions.controller import ActionController
        from st2actions_mistral.relay.actions.effects import Wait
        from st2actions_mistral.relay.metrics import Metrics

    settings = config.load_settings(config.read_files(args.config_file))
    relay = settings.relay
    # Zero keeps the relay from doing it by itself. An operator may.
    relay = replace(
        relay, reschedule_after=relay.reschedule_after or 1, lost_after=relay.lost_after or 1
    )
    with open_clients(settings) as (st2, mistral):
        controller = ActionController(
            st2,
            project_clients(mistral, relay),
            relay,
            parse_request=request_parser(settings.bridge),
            metrics=Metrics(),
            resync=threading.Event(),
        )
        if not controller.knows(args.action):
            raise unknown_to_mistral(
                settings, args.action, "Mistral does not know this action execution."
            )
        with advise_repeating():
            effect = controller.repair(args.action, force=args.force)
    if isinstance(effect, Wait) and effect.no_access is not None:
        raise InputError(args.action, effect.no_access.text)
    if isinstance(effect, Wait) and effect.until is not None:
        raise InputError(
            args.action,
            f"{effect.reason}. An executor may be about to create one, and there would be two. Wait"
            f" until the action is {effect.until:.0f} s old (reschedule_after), or use --force.",
        )
    print(f"{args.action}: {effect.summary}")
    return 0
