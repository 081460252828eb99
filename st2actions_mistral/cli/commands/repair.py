"""The command ``st2-mistral repair``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.bridge.request import request_parser
from st2actions_mistral.cli.common import add_config_file, require_extra
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.project import REMEDY

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
        from st2actions_mistral.cli.clients import advise_repeating, open_clients, unknown_to_mistral
        from st2actions_mistral.relay.children import Children
        from st2actions_mistral.relay.delivery import Delivery
        from st2actions_mistral.relay.metrics import Metrics
        from st2actions_mistral.relay.reconcile import Refuse
        from st2actions_mistral.relay.view import View

    settings = config.load_settings(config.read_files(args.config_file))
    relay = settings.relay
    # Zero keeps the relay from doing it by itself. An operator may.
    relay = replace(
        relay, reschedule_after=relay.reschedule_after or 1, lost_after=relay.lost_after or 1
    )
    with open_clients(settings) as (st2, mistral):
        view = View(st2, mistral, relay.site)
        action = mistral.get_action(args.action)
        if action is None:
            raise unknown_to_mistral(
                settings, args.action, "Mistral does not know this action execution."
            )
        delivery = Delivery(
            st2,
            mistral,
            relay,
            view,
            Children(),
            requested=request_parser(settings.bridge),
            metrics=Metrics(),
        )
        with closing(delivery), advise_repeating():
            child = view.children({args.action: action}).first.get(args.action)
            if child is None and action["state"] == states.RUNNING and not args.force:
                now = mistral.clock() or datetime.now(timezone.utc)
                _require_age(action, now, relay.reschedule_after)
            effect = delivery.settle_now(args.action, child["id"] if child else None)
    if isinstance(effect, Refuse):
        raise InputError(args.action, f"{effect.foreign.reason}. {REMEDY}")
    print(f"{args.action}: {effect.words}")
    return 0


def _require_age(action: Mapping[str, Any], now: datetime, reschedule_after: float) -> None:
    """Check that no executor is about to create the execution.

    :raises InputError: the action is younger than that.
    """
    from st2actions_mistral.relay.reconcile import made_at

    age = (now - made_at(action)).total_seconds()
    if age < reschedule_after:
        raise InputError(
            action["id"],
            f"it is {age:.0f} s old and has no execution yet. An executor may be about to create one,"
            f" and there would be two. Wait until it is {reschedule_after:.0f} s old"
            " (reschedule_after), or use --force.",
        )
