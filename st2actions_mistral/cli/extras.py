"""What a command needs beyond the core of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from st2actions_mistral.errors import ConfigError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a missing module into the command that installs it.

    :param extra: an extra of this distribution, "relay" or "sandbox".
    :raises ConfigError: a module is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this command needs {error.name}: pip install 'st2actions-mistral[{extra}]'"
        ) from error
