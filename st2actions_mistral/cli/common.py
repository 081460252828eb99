"""What several commands share."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from st2actions_mistral.errors import ConfigError


def ends_by_interrupt() -> None:
    """Have whatever asks this process to end raise KeyboardInterrupt, so that it tidies up.

    Also in a shell's background, where it would ignore SIGINT.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def add_config_file(parser: argparse.ArgumentParser) -> None:
    """The option that names configuration files."""
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="a configuration file; may be repeated (default: those that Mistral itself reads)",
    )


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a missing module into the command that installs it.

    :param extra: an extra of this distribution, such as "relay".
    :raises ConfigError: a module is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this command needs {error.name}: pip install '.[{extra}]' in the checkout, or the same"
            " with the path of the wheel or the sdist in place of the dot."
        ) from error
