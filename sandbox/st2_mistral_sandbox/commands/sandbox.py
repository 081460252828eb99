"""``st2-mistral sandbox``"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from st2actions_mistral import config
from st2actions_mistral.cli.common import interrupt_on_signals
from st2actions_mistral.client.settings import Credential, St2Settings, Timeouts, checked_url
from st2actions_mistral.errors import Answered, ConfigError, OutcomeUnknown, RemoteError

if TYPE_CHECKING:
    from oslo_config import cfg

    from st2_mistral_sandbox.sandbox import Sandbox

_DESCRIPTION = """\
Run a whole bridge on this machine: a real Mistral on SQLite, a StackStorm stand-in, the relay, and
the examples. It needs no service beside it, says how to use it, and stops with Ctrl-C.

With --st2-api-url it uses your StackStorm instead of the stand-in. What lets it in comes from the
environment, as for the st2 command line (ST2_API_KEY or ST2_AUTH_TOKEN), or from the group [st2] of
a --config-file: nobody else on this machine can read it there.
"""

_MISTRAL_PORT: Final = 8989
_ST2_PORT: Final = 9180

_TIMEOUTS: Final = Timeouts(connect_timeout=5, read_timeout=10, retry_deadline=0)
"""For the first call to a StackStorm of one's own: this is to say what is wrong now."""

_BIN: Final = Path(sys.prefix, "bin")
_ST2_BIN: Final = Path(f"{sys.prefix}-st2client", "bin")
"""Where the Makefile installs StackStorm's command line: it needs an environment of its own."""

_LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks at whether all parts still run."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sandbox",
        help="run a Mistral, a StackStorm stand-in and the relay to try things on",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="keep Mistral's database and the logs here (default: a temporary folder)",
    )
    parser.add_argument(
        "--mistral-port",
        type=_port_number,
        help=f"port of Mistral, 0 for a free one (default: {_MISTRAL_PORT} if it is free, else 0)",
    )
    parser.add_argument(
        "--st2-port",
        type=_port_number,
        help=f"port of the stand-in, 0 for a free one (default: {_ST2_PORT} if it is free, else 0)",
    )
    add_st2_options(parser)
    parser.set_defaults(run=run)


def add_st2_options(parser: argparse.ArgumentParser) -> None:
    """The options that choose a real StackStorm."""
    parser.add_argument(
        "--st2-api-url", metavar="URL", help="use this StackStorm, e.g. https://st2.example/api/v1"
    )
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="read the other options of group [st2] here; may be repeated. With the stand-in, URLs,"
        " credentials and TLS are its own.",
    )


def options_of(args: argparse.Namespace) -> cfg.ConfigOpts | None:
    """The options that the command line chooses, those of this host for a StackStorm of one's own; None
    for the defaults.

    :raises ConfigError: a file cannot be read.
    """
    return config.read_files(args.config_file) if args.config_file or args.st2_api_url else None


def real_st2(args: argparse.Namespace, conf: cfg.ConfigOpts | None) -> St2Settings | None:
    """The StackStorm that the command line chooses, or None for the stand-in.

    :raises ConfigError: what is given contradicts itself.
    """
    if not args.st2_api_url or conf is None:
        return None
    settings = config.load_bridge_settings(conf).st2
    settings = replace(settings, api_url=checked_url("--st2-api-url", args.st2_api_url))
    api_key, token = os.environ.get("ST2_API_KEY"), os.environ.get("ST2_AUTH_TOKEN")
    if api_key:
        return replace(settings, credential=Credential(api_key=api_key))
    return replace(settings, credential=Credential(auth_token=token)) if token else settings


def must_let_in(settings: St2Settings) -> None:
    """Call StackStorm once.

    :raises ConfigError: it cannot be reached, or does not let us in.
    """
    from st2actions_mistral.client.auth import sentence
    from st2actions_mistral.client.st2 import St2Client

    try:
        with closing(St2Client(replace(settings, timeouts=_TIMEOUTS))) as st2:
            st2.whoami()
    except RemoteError as error:
        # Without authentication StackStorm lets everybody in, and knows nobody's name.
        if isinstance(error, OutcomeUnknown) and error.status == 500:
            return
        advice = "Is it the URL of its API, with /api/v1 or port 9101 and /v1, and can it be reached?"
        if isinstance(error, Answered) and error.status in (401, 403):
            advice = "Here the environment may give it: ST2_API_KEY or ST2_AUTH_TOKEN."
        raise ConfigError(f"--st2-api-url: {sentence(str(error))} {advice}") from error


def run(args: argparse.Namespace) -> int:
    """Run the sandbox until it is interrupted."""
    from st2_mistral_sandbox.sandbox import Sandbox

    interrupt_on_signals()
    conf = options_of(args)
    st2 = real_st2(args, conf)
    if st2 is not None:
        must_let_in(st2)
    sandbox = Sandbox(
        args.folder,
        mistral_port=_port(args.mistral_port, _MISTRAL_PORT),
        st2_port=_port(args.st2_port, _ST2_PORT),
        st2=st2,
        conf=conf,
        load_examples=True,
        say=lambda words: print(f"{words} …", file=sys.stderr, flush=True),
    )
    with sandbox:
        print(_how_to(sandbox), flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(_LOOK_INTERVAL)
                sandbox.must_run()
        print("Stopping …", file=sys.stderr, flush=True)
    return 0


def _how_to(sandbox: Sandbox) -> str:
    own = _BIN / "st2-mistral"
    options = sandbox.folder.absolute() / "relay.conf"
    lines = [
        "",
        f"Mistral      {sandbox.mistral_settings.url}",
        f"StackStorm   {sandbox.st2_settings.api_url}{'' if sandbox.stackstorm else '  (yours)'}",
        f"Logs         {sandbox.folder}",
        *([f"Packs        {sandbox.packs}"] if sandbox.packs else []),
        "",
        *_command("In another terminal", "mistral", _BIN, "python-mistralclient"),
        f"  export OS_MISTRAL_URL={sandbox.mistral_settings.url}",
        "  mistral workbook-list",
        "  mistral action-list --filter name=st2.action",
        '  mistral run-action --save-result st2.action \'{"ref": "core.noop"}\'',
        "  mistral action-execution-list",
        "",
        "with the command line of this package:",
        "",
        f"  {own if own.exists() else own.name} status --config-file {options}",
        "  and so check, validate FILE, pause ID and resume ID",
    ]
    stackstorm = sandbox.stackstorm
    if stackstorm is not None:
        lines += [
            "",
            *_command(
                "and with StackStorm's own command line", "st2", _ST2_BIN, "st2client 'setuptools<81'"
            ),
            f"  export ST2_API_URL={stackstorm.api_url}",
            f"  export ST2_STREAM_URL={stackstorm.stream_url.removesuffix('/stream')}",
            f"  export ST2_AUTH_URL={stackstorm.auth_url}",
            f"  export ST2_API_KEY={sandbox.st2_settings.credential.api_key}",
            "  st2 run core.local cmd=date",
            "  st2 run examples.mistral-basic cmd=date -a",
            "  st2 execution cancel ID",
            "  st2 execution re-run ID",
            "  st2 execution list --showall",
        ]
    return "\n".join([*lines, "", "Ctrl-C stops all of it."])


def _command(words: str, name: str, folder: Path, packages: str) -> list[str]:
    """The heading for a command, and how to come by it."""
    if (folder / name).exists():
        return [f"{words}:", "", f"  export PATH={folder}:$PATH"]
    return [f"{words} (pip install {packages}):", ""]


def _port_number(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is no port: 0 to 65535")
    return port


def _port(wanted: int | None, usual: int) -> int:
    """The port that was asked for, else the usual one where it is free, else any."""
    if wanted is not None:
        return wanted
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", usual))
        except OSError:
            return 0
    return usual
