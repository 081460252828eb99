"""The command ``st2-mistral status``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from st2actions_mistral import config
from st2actions_mistral.bridge.request import request_parser
from st2actions_mistral.cli.common import add_config_file, require_extra

if TYPE_CHECKING:
    from st2actions_mistral.relay.status import Pending

_DESCRIPTION = """\
Show the pending actions: how old each is, its execution in StackStorm with
its status, and what the relay would do next. It changes nothing.

With [st2_relay] health_port it also asks the relay on this host for its last
error with each action.

Inquiries whose actions have ended are shown too: StackStorm does not cancel
them.

  st2-mistral status --config-file /etc/mistral/mistral.conf

st2-mistral repair ACTION_EXECUTION_ID does at once what "next" says.

The exit status is 0, or 1 if an action cannot be observed or completed.
"""

_HEADS: Final = ("action execution", "age", "execution", "status", "next", "last error")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "status",
        help="show the pending actions, and what the relay would do next",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_file(parser)
    parser.add_argument("--json", action="store_true", help="print the pending actions as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the pending actions; return 1 if one cannot be observed or completed."""
    with require_extra("relay"):
        from st2actions_mistral.cli.clients import (
            failures_of_relay,
            open_clients,
            project_clients,
            require_credential,
        )
        from st2actions_mistral.relay.status import pending_actions, unanswered_inquiries

    settings = config.load_settings(config.read_files(args.config_file))
    relay = settings.relay
    # Without pending actions no request to StackStorm would report the missing credential.
    require_credential(settings.st2)
    with open_clients(settings) as (st2, mistral):
        failing = failures_of_relay(relay.health_port)
        parse_request = request_parser(settings.bridge)
        clients = project_clients(mistral, relay)
        found = list(pending_actions(st2, clients, relay, failing, parse_request=parse_request))
        found += unanswered_inquiries(st2, clients, relay)
    if args.json:
        print(json.dumps([row.as_dict() for row in found], indent=2))
    elif found:
        _print_table(found)
    else:
        print("No pending actions.")
    return 1 if any(row.error for row in found) else 0


def _print_table(found: Sequence[Pending]) -> None:
    """Print one row for each action of the relay's project, and one line for each other project."""
    own = [row for row in found if not row.no_access]
    if own:
        cells = [
            (
                row.action_execution_id,
                f"{row.age} s",
                row.execution_id or "none",
                row.status or "",
                row.next,
                f"{row.error} ({row.failures} times)" if row.failures else row.error or "",
            )
            for row in own
        ]
        print(_table([_HEADS, *cells]))
    others = [row for row in found if row.no_access]
    for project_id in dict.fromkeys(row.project_id for row in others):
        errors = [row.error for row in others if row.project_id == project_id]
        print(f"{len(errors)} pending actions are not completed. For each of them: {errors[0]}")


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )
