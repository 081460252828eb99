"""``st2-mistral relay``"""

from __future__ import annotations

import argparse
import logging
from typing import Any

from st2actions_mistral import config
from st2actions_mistral.bridge.request import request_parser
from st2actions_mistral.cli.common import add_config_file, require_extra

_DESCRIPTION = """\
Bring the results of StackStorm executions to the Mistral actions that wait for them.

It runs beside Mistral until it is stopped, and keeps nothing: stop it, start it, or run several at
once as you like. It reads the groups [st2] and [st2_relay] of Mistral's configuration files.

SIGTERM or Ctrl-C lets it finish what is in flight; a second one ends it at once.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "relay",
        help="bring results back to Mistral",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_file(parser)
    parser.add_argument("--debug", action="store_true", help="say more")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the relay until it is stopped."""
    with require_extra("relay"):
        from st2actions_mistral.relay.service import Relay, run_until_signalled

    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Each request at DEBUG, which is urllib3's and not ours to say.
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    settings = config.load_settings(config.read_files(args.config_file))
    relay = Relay(
        settings.st2,
        settings.mistral,
        settings.relay,
        requested=request_parser(settings.bridge),
        credential=settings.credential,
    )
    run_until_signalled(relay)
    return 0
