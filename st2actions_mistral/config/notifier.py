"""Read what the notifier needs: ``[st2_notifier]``, and how the relay reaches both systems."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from oslo_config import cfg

from st2actions_mistral.config.load import Settings, load_settings
from st2actions_mistral.config.options import NOTIFIER_GROUP, NOTIFIER_OPTS
from st2actions_mistral.config.values import read_group
from st2actions_mistral.errors import ConfigError

# The characters that StackStorm's own packs and triggers have.
_TRIGGER: Final = re.compile(r"[\w-]+(\.[\w-]+)+", re.ASCII)


@dataclass(frozen=True)
class NotifierSettings:
    """Settings of the notifier."""

    shared: Settings
    """The settings with which the relay reaches both systems."""
    trigger: str | None = None
    """``pack.name`` of the trigger in StackStorm; None: no trigger."""
    workers: int = 4
    """Workflows that are worked on at once."""
    queue_size: int = 1000
    """Workflows, and events for the trigger, that may wait."""


def load_notifier_settings(conf: cfg.ConfigOpts) -> NotifierSettings:
    """Read the options of ``[st2_notifier]``, ``[st2]`` and ``[st2_relay]``.

    :raises ConfigError: an option is invalid or contradicts another.
    """
    shared = load_settings(conf)
    options = read_group(conf, NOTIFIER_GROUP.name, NOTIFIER_OPTS)
    trigger = options["trigger"] or None
    if trigger is not None and not _TRIGGER.fullmatch(trigger):
        raise ConfigError(
            f"[{NOTIFIER_GROUP.name}] trigger: {trigger!r:.80} does not name a trigger as pack.name,"
            " such as examples.mistral_event."
        )
    return NotifierSettings(shared, trigger, options["workers"], options["queue_size"])
