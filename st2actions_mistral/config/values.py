"""Read option values, with errors that name the option and hide what may be a secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from oslo_config import cfg

from st2actions_mistral.errors import ConfigError

# Seconds, about 30 years. No clock here counts to infinity, nor much further than that.
_MAX_SECONDS: Final = 1e9

_LOCATION: Final = re.compile(r"Value for option \S+ from LocationInfo\(.*?, detail='(.+?)'\) ")


def read_group(conf: cfg.ConfigOpts, group: str, opts: Sequence[cfg.Opt]) -> dict[str, Any]:
    """Return the values of a group's options by their names.

    :param group: "DEFAULT" too, which is no group for oslo.config.
    :param opts: the options to read; they must be registered.
    :raises ConfigError: an option does not take its value.
    """
    section = conf if group == "DEFAULT" else conf[group]
    values = {}
    for opt in opts:
        try:
            value = values[opt.name] = section[opt.dest]
        except (cfg.Error, ValueError) as error:
            place = f" in {file}" if (file := _file_of(error)) else ""
            # "from None": the cause's text may hold a secret.
            raise ConfigError(f"[{group}] {opt.dest}{place}: {_reason(opt, error)}") from None
        # Not ">": NaN is not greater than anything.
        if isinstance(value, float) and not abs(value) <= _MAX_SECONDS:
            raise ConfigError(f"[{group}] {opt.name}: {value} is not a valid number of seconds.")
    return values


def _file_of(error: Exception) -> str | None:
    """Return the file of an option. oslo.config names it only in the repr of a location."""
    found = _LOCATION.match(str(error))
    return found[1] if found else None


def _reason(opt: cfg.Opt, error: Exception) -> str:
    """Return what is wrong with a value, without a value that may hold a password."""
    if not isinstance(error, ValueError):
        return "refers to an unknown option with $. Write $$ for a dollar sign."
    if not opt.secret and not isinstance(opt, cfg.URIOpt):
        # oslo.config wraps the message of the type into one with the location.
        cause = error.__context__
        return f"{cause if isinstance(cause, ValueError) else error}."
    return "must be a URL that begins with http:// or https:// and names a host."
