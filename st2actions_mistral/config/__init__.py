"""Define the options of the package (``options``), and load settings from them (``load``)."""

from __future__ import annotations

from st2actions_mistral.config.load import (
    BridgeSettings,
    RelaySettings,
    Settings,
    load_bridge_settings,
    load_settings,
    read_files,
)
from st2actions_mistral.config.options import list_opts, register_opts

__all__ = [
    "BridgeSettings",
    "RelaySettings",
    "Settings",
    "list_opts",
    "load_bridge_settings",
    "load_settings",
    "read_files",
    "register_opts",
]
