"""``st2-mistral status``"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Final

from st2actions_mistral import config
from st2actions_mistral.cli.common import add_config_file, require_extra
from st2actions_mistral.client.session import json_body, new_session, send
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.errors import RemoteError

_DESCRIPTION = """\
Show the actions that wait for StackStorm: how long, for which execution, in what state it is, and what
the relay would do next. It changes nothing. With [st2_relay] health_port it also asks the relay on this
host what went wrong the last time.

st2-mistral repair ACTION_EXECUTION_ID does it at once.
"""

_HEADS: Final = ("action execution", "age", "execution", "status", "next", "last error")

# Seconds for a relay on this host to answer.
_HEALTH_TAKES: Final = 2.0


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "status",
        help="show what waits for StackStorm, and what the relay would do next",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_file(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what waits; 1 where something of it cannot be looked at or settled."""
    with require_extra("relay"):
        from st2actions_mistral.cli.clients import open_clients, require_credential
        from st2actions_mistral.relay import delivery, status
        from st2actions_mistral.relay.view import View

    everything = config.load_settings(config.read_files(args.config_file))
    settings = everything.relay
    # Where nothing waits, StackStorm is not asked, and nobody would notice.
    require_credential(everything.st2)
    with open_clients(everything) as (st2, mistral):
        view = View(st2, mistral, settings.site)
        rules = delivery.rules(settings)
        failing = _failing(settings.health_port)
        found = list(status.pending(view, mistral, rules, settings.workers, failing))
    if args.json:
        print(json.dumps([row.as_dict() for row in found], indent=2))
    elif found:
        # Other projects may have thousands of actions: one line for each project.
        own = [row for row in found if not row.foreign]
        cells = [
            (
                row.action_execution_id,
                f"{row.age} s",
                row.execution_id or "none",
                row.status or "",
                row.next,
                f"{row.error} ({row.tries} times)" if row.tries else row.error or "",
            )
            for row in own
        ]
        if own:
            print(_table([_HEADS, *cells]))
        others = {row.project_id: row for row in found if row.foreign}
        for project_id, first in others.items():
            count = sum(row.foreign and row.project_id == project_id for row in found)
            print(f"{count} pending actions are not completed: each of them: {first.error}")
    else:
        print("No action waits for StackStorm.")
    return 1 if any(row.error for row in found) else 0


def _failing(port: int) -> Mapping[str, Any]:
    """What the relay on this host tells of the actions that it could not settle, if it tells."""
    if not port:
        return {}
    url = f"http://127.0.0.1:{port}/failing"
    timeouts = Timeouts(_HEALTH_TAKES, _HEALTH_TAKES, 0)
    with closing(new_session(Tls())) as session, suppress(RemoteError):
        found: Mapping[str, Any] = json_body(send(session, "GET", url, timeouts), "GET", url)
        return found
    return {}


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
