"""Share signals, the option --config-file and optional dependencies among commands."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from st2actions_mistral.errors import ConfigError


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGTERM, SIGINT and SIGHUP, so that the process cleans up.

    A shell starts background processes with SIGINT ignored; this undoes it.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def add_config_file(parser: argparse.ArgumentParser) -> None:
    """Add the option --config-file."""
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="a configuration file; may be repeated (default: the files that Mistral reads)",
    )


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Turn a missing module into an error with the command that installs it.

    :param extra: an extra of this distribution, such as "relay".
    :raises ConfigError: a module is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"This command needs the module {error.name}. Install it: pip install '.[{extra}]' in the"
            " checkout, or the same with the path of the wheel or the sdist in place of the dot."
        ) from error
