"""Add the commands of other distributions.

An entry point of the group ``st2actions_mistral.commands`` adds a command: it names an object with a
function ``add_to(commands)``, as the command modules of this package have. A command that cannot be
loaded says so when it is called. All others work.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any, Final, NoReturn

from stevedore import ExtensionManager

from st2actions_mistral.errors import ConfigError

GROUP: Final = "st2actions_mistral.commands"

_INSTALL_SANDBOX: Final = (
    "is in the distribution st2-mistral-sandbox: pip install st2-mistral-sandbox, or"
    " pip install ./sandbox in a checkout."
)
_KNOWN: Final = {"demo": _INSTALL_SANDBOX, "sandbox": _INSTALL_SANDBOX}
"""Commands that exist, and what to do where they are not installed."""


def add_to(commands: Any) -> None:
    """Add every command that is installed, and a message for every one that is not.

    The package's own commands are added before: a plugin cannot replace one.
    """
    missing = dict(_KNOWN)

    def failed(_: object, entry_point: Any, error: BaseException) -> None:
        missing[entry_point.name] = _reason(error)

    plugins: ExtensionManager[Any] = ExtensionManager(GROUP, on_load_failure_callback=failed)
    for plugin in plugins:
        if plugin.name in commands.choices:
            continue
        try:
            plugin.plugin.add_to(commands)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other commands have to work
            commands.choices.pop(plugin.name, None)
            missing[plugin.name] = _reason(error)
        else:
            missing.pop(plugin.name, None)
    for name, reason in missing.items():
        if name not in commands.choices:
            _add_missing(commands, name, reason)


def _reason(error: BaseException) -> str:
    return f"cannot be loaded ({type(error).__name__}: {error}). Install its distribution again."


def _add_missing(commands: Any, name: str, reason: str) -> None:
    # Without an option character, all that follows the command is accepted, and then the reason shown.
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help="not installed", prefix_chars="\0", add_help=False
    )
    parser.add_argument("words", nargs="*")
    parser.set_defaults(run=partial(_fail, name, reason))


def _fail(name: str, reason: str, _: argparse.Namespace) -> NoReturn:
    """Report why a command is missing.

    :raises ConfigError: always.
    """
    raise ConfigError(f"The command {name} {reason}")
