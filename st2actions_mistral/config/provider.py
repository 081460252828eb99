"""Read the options of ``[st2_provider]``."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from st2actions_mistral.config.options import PROVIDER_GROUP, PROVIDER_OPTS, register_opts
from st2actions_mistral.config.values import read_group


@dataclass(frozen=True)
class ProviderSettings:
    """Settings of the action provider."""

    enabled: bool = False
    packs: frozenset[str] = frozenset()
    """The packs whose actions are offered; empty: all."""
    refresh_interval: float = 60
    """Seconds."""
    max_actions: int = 5000

    def has_pack(self, pack: str) -> bool:
        """Return True if the actions of a pack are offered."""
        return not self.packs or pack in self.packs


def load_provider_settings(conf: cfg.ConfigOpts) -> ProviderSettings:
    """Read the options.

    :raises ConfigError: an option is invalid.
    """
    register_opts(conf)
    options = read_group(conf, PROVIDER_GROUP.name, PROVIDER_OPTS)
    return ProviderSettings(
        enabled=options["enabled"],
        packs=frozenset(options["packs"]),
        refresh_interval=options["refresh_interval"],
        max_actions=options["max_actions"],
    )
