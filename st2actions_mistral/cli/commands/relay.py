"""The command ``st2-mistral relay``."""

from __future__ import annotations

import argparse
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.bridge.request import request_parser
from st2actions_mistral.cli.common import add_config_file, require_extra

_DESCRIPTION = """\
Run the relay: it completes Mistral's pending actions with the results of
their StackStorm executions, and StackStorm's executions with the ends of
their Mistral workflows.

Run it beside Mistral, best as a systemd service. It stores nothing: it may be
stopped and started at any time, and several may run at once. Its options are
in the groups [st2] and [st2_relay] of Mistral's configuration files. It logs
to standard error unless their logging options (log_dir, log_file, use_journal
and the others of oslo.log) say otherwise.

  st2-mistral relay --config-file /etc/mistral/mistral.conf

SIGTERM or Ctrl-C ends it after the requests that are in flight. A second
signal ends it immediately.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "relay",
        help="run the relay, which completes pending actions",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_file(parser)
    parser.add_argument(
        "--debug", action="store_true", help="log every decision, as the option debug of [DEFAULT]"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the relay until it is stopped."""
    with require_extra("relay"):
        from st2actions_mistral.cli import logs
        from st2actions_mistral.relay.daemon import Relay, run_until_signalled

    conf = config.read_files(args.config_file, register=logs.register_options)
    logs.set_up(conf, debug=args.debug)
    settings = config.load_settings(conf)
    relay = Relay(
        settings.st2,
        settings.mistral,
        settings.relay,
        parse_request=request_parser(settings.bridge),
        credential=settings.credential,
    )
    run_until_signalled(relay)
    return 0
