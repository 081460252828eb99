"""Run ``st2-mistral sandbox``: a sandbox until Ctrl-C."""

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
Run everything on this machine: a real Mistral on SQLite, a StackStorm stand-in, the relay and the
examples. It needs no other service, prints how to use it, and runs until Ctrl-C.

With --st2-api-url it uses your StackStorm instead of the stand-in. Give the credential in the
environment, as for the st2 command line (ST2_API_KEY or ST2_AUTH_TOKEN), or in the group [st2] of a
--config-file: other users of this machine cannot read it there.
"""

_MISTRAL_PORT: Final = 8989
_ST2_PORT: Final = 9180

_TIMEOUTS: Final = Timeouts(connect_timeout=5, read_timeout=10, retry_deadline=0)
"""For the check of the given StackStorm, which is to fail fast."""

_BIN: Final = Path(sys.prefix, "bin")
_ST2_BIN: Final = Path(f"{sys.prefix}-st2client", "bin")
"""The folder in which the Makefile installs StackStorm's command line."""

_CHECK_INTERVAL: Final = 1.0
"""Seconds between two checks that all parts run."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sandbox",
        help="run Mistral, a StackStorm stand-in and the relay to try them",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="store Mistral's database and the logs here (default: a temporary folder)",
    )
    parser.add_argument(
        "--mistral-port",
        type=_port_number,
        help=f"port of Mistral, 0 for a free one (default: {_MISTRAL_PORT} if free, else 0)",
    )
    parser.add_argument(
        "--st2-port",
        type=_port_number,
        help=f"port of the stand-in, 0 for a free one (default: {_ST2_PORT} if free, else 0)",
    )
    add_st2_options(parser)
    parser.add_argument(
        "--no-auth",
        action="store_true",
        help="let everybody on this machine use Mistral. Otherwise StackStorm authenticates Mistral's"
        " users, if it has authentication.",
    )
    parser.set_defaults(run=run)


def add_st2_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select a real StackStorm."""
    parser.add_argument(
        "--st2-api-url", metavar="URL", help="use this StackStorm, e.g. https://st2.example/api/v1"
    )
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="read the options of the group [st2] from here; may be repeated. The stand-in uses its own"
        " URLs, credentials and TLS.",
    )


def load_options(args: argparse.Namespace) -> cfg.ConfigOpts | None:
    """Read the configuration that the command line selects.

    :return: None for the defaults. With ``--st2-api-url`` and no file: the configuration of this host.
    :raises ConfigError: a file cannot be read.
    """
    return config.read_files(args.config_file) if args.config_file or args.st2_api_url else None


def st2_settings(args: argparse.Namespace, conf: cfg.ConfigOpts | None) -> St2Settings | None:
    """Return the settings of the StackStorm that the command line selects, None for the stand-in.

    :raises ConfigError: the options contradict each other.
    """
    if not args.st2_api_url or conf is None:
        return None
    settings = config.load_bridge_settings(conf).st2
    settings = replace(settings, api_url=checked_url("--st2-api-url", args.st2_api_url))
    api_key, token = os.environ.get("ST2_API_KEY"), os.environ.get("ST2_AUTH_TOKEN")
    if api_key:
        return replace(settings, credential=Credential(api_key=api_key))
    return replace(settings, credential=Credential(auth_token=token)) if token else settings


def check_access(settings: St2Settings) -> bool:
    """Call StackStorm once, without retries.

    :return: True if it authenticates its users.
    :raises ConfigError: it does not respond, or rejects the credential.
    """
    from st2actions_mistral.client.auth import sentence
    from st2actions_mistral.client.st2 import St2Client

    try:
        with closing(St2Client(replace(settings, timeouts=_TIMEOUTS))) as st2:
            st2.whoami()
            return True
    except RemoteError as error:
        # If authentication is off, StackStorm cannot tell the user and answers 500.
        if isinstance(error, OutcomeUnknown) and error.status == 500:
            return False
        hint = (
            "Check that it is the URL of the API (with /api/v1, or port 9101 and /v1), and reachable."
        )
        if isinstance(error, Answered) and error.status in (401, 403):
            hint = "You can set ST2_API_KEY or ST2_AUTH_TOKEN in the environment."
        raise ConfigError(f"--st2-api-url: {sentence(str(error))} {hint}") from error


def run(args: argparse.Namespace) -> int:
    """Run the sandbox until it is interrupted."""
    from st2_mistral_sandbox.sandbox import Sandbox

    interrupt_on_signals()
    conf = load_options(args)
    st2 = st2_settings(args, conf)
    auth = (st2 is None or check_access(st2)) and not args.no_auth
    sandbox = Sandbox(
        args.folder,
        mistral_port=_port(args.mistral_port, _MISTRAL_PORT),
        st2_port=_port(args.st2_port, _ST2_PORT),
        st2=st2,
        conf=conf,
        auth=auth,
        load_examples=True,
        # Yours need not have this trigger.
        notifier_options="" if st2 else "trigger = examples.mistral_event",
        on_step=lambda text: print(f"{text} …", file=sys.stderr, flush=True),
    )
    with sandbox:
        print(instructions(sandbox), flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(_CHECK_INTERVAL)
                sandbox.check_running()
        print("Stopping …", file=sys.stderr, flush=True)
    return 0


def instructions(sandbox: Sandbox, bin_folder: Path = _BIN, st2_bin_folder: Path = _ST2_BIN) -> str:
    """Return the instructions for using a sandbox.

    :param bin_folder: the folder of this package's commands and of ``mistral``.
    :param st2_bin_folder: the folder of ``st2``.
    """
    own = bin_folder / "st2-mistral"
    options = sandbox.folder.absolute() / "relay.conf"
    stackstorm = sandbox.stackstorm
    login = ["  export MISTRAL_AUTH_TYPE=st2 OS_TARGET_AUTH_URL=st2"] if sandbox.auth else []
    if sandbox.auth:
        # The credential for a real StackStorm stays where it is.
        key = sandbox.st2_settings.credential.api_key
        theirs = "  # and ST2_API_KEY or ST2_AUTH_TOKEN, as for st2"
        login.append(f"  export ST2_API_KEY={key}" if stackstorm is not None else theirs)
    lines = [
        "",
        f"Mistral      {sandbox.mistral_settings.url}",
        f"StackStorm   {sandbox.st2_settings.api_url}{'' if sandbox.stackstorm else '  (yours)'}",
        f"Logs         {sandbox.folder}",
        *([f"Packs        {sandbox.packs}"] if sandbox.packs else []),
        "",
        *_command(
            "In another terminal", "mistral", bin_folder, "python-mistralclient st2actions-mistral"
        ),
        f"  export OS_MISTRAL_URL={sandbox.mistral_settings.url}",
        *login,
        "  mistral workbook-list",
        "  mistral action-list --filter name=st2.action",
        '  mistral run-action --save-result st2.action \'{"ref": "core.noop"}\'',
        "  mistral action-execution-list",
        "",
        "The commands of this package:",
        "",
        f"  {own if own.exists() else own.name} status --config-file {options}",
        "  check and validate FILE take the same option",
    ]
    if stackstorm is not None:
        lines += [
            "",
            *_command("StackStorm's command line", "st2", st2_bin_folder, "st2client 'setuptools<81'"),
            f"  export ST2_API_URL={stackstorm.api_url}",
            f"  export ST2_STREAM_URL={stackstorm.stream_url.removesuffix('/stream')}",
            f"  export ST2_AUTH_URL={stackstorm.auth_url}",
            f"  export ST2_API_KEY={sandbox.st2_settings.credential.api_key}",
            "  st2 run core.local cmd=date",
            "  st2 run examples.mistral-basic cmd=date -a",
            "  st2 execution cancel ID",
            "  st2 execution re-run ID",
            "  st2 execution list --showall",
            "  st2 trigger-instance list --trigger examples.mistral_event",
        ]
    return "\n".join([*lines, "", "Ctrl-C stops everything."])


def _command(title: str, name: str, folder: Path, packages: str) -> list[str]:
    """Return the heading for a command, with its folder or how to install it."""
    if (folder / name).exists():
        return [f"{title}:", "", f"  export PATH={folder}:$PATH"]
    return [f"{title} (pip install {packages}):", ""]


def _port_number(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port (0 to 65535)")
    return port


def _port(given: int | None, default: int) -> int:
    """Return the given port, else the default one if it is free, else 0."""
    if given is not None:
        return given
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", default))
        except OSError:
            return 0
    return default
