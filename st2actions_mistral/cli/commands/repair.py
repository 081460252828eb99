"""``st2-mistral repair``"""

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
Settle one action now, as the relay would if it had waited long enough: deliver its result, cancel its
child where Mistral has given it up, schedule it where it has no child, or end it in ERROR where that
cannot be. st2-mistral status shows what it would be.

An action whose child was deleted from StackStorm has none, and is scheduled again. One without a child
that is younger than reschedule_after is left to its executor, which may be about to send it.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "repair",
        help="settle one action now",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", metavar="ACTION_EXECUTION_ID", help="as status shows it")
    parser.add_argument(
        "--force", action="store_true", help="schedule it however young it is: no executor has it"
    )
    add_config_file(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Settle it and say how."""
    with require_extra("relay"):
        from st2actions_mistral.cli.clients import advise_repeating, open_clients, unknown_to_mistral
        from st2actions_mistral.relay.children import Children
        from st2actions_mistral.relay.delivery import Delivery
        from st2actions_mistral.relay.metrics import Metrics
        from st2actions_mistral.relay.reconcile import Refuse
        from st2actions_mistral.relay.view import View

    everything = config.load_settings(config.read_files(args.config_file))
    settings = everything.relay
    # That the relay would never do it by itself is no reason not to do it here.
    settings = replace(
        settings, reschedule_after=settings.reschedule_after or 1, lost_after=settings.lost_after or 1
    )
    with open_clients(everything) as (st2, mistral):
        view = View(st2, mistral, settings.site)
        action = mistral.get_action(args.action)
        if action is None:
            raise unknown_to_mistral(
                everything, args.action, "is no action execution that Mistral knows."
            )
        delivery = Delivery(
            st2,
            mistral,
            settings,
            view,
            Children(),
            requested=request_parser(everything.bridge),
            metrics=Metrics(),
        )
        with closing(delivery), advise_repeating():
            child = view.children({args.action: action}).first.get(args.action)
            if child is None and action["state"] == states.RUNNING and not args.force:
                now = mistral.clock() or datetime.now(timezone.utc)
                _leave_to_executor(action, now, settings.reschedule_after)
            effect = delivery.settle_now(args.action, child["id"] if child else None)
    if isinstance(effect, Refuse):
        raise InputError(args.action, f"{effect.foreign.reason}. {REMEDY}")
    print(f"{args.action}: {effect.words}")
    return 0


def _leave_to_executor(action: Mapping[str, Any], now: datetime, reschedule_after: float) -> None:
    """:raises InputError: it is too young to be lost."""
    from st2actions_mistral.relay.reconcile import made_at

    age = (now - made_at(action)).total_seconds()
    if age < reschedule_after:
        raise InputError(
            action["id"],
            f"it is {age:.0f} s old and has no execution yet: an executor may be about to send it, and"
            f" there would be two. Wait until it is {reschedule_after:.0f} s old (reschedule_after), or"
            " say --force.",
        )
