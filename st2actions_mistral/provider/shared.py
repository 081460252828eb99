"""Share one catalogue among the providers of a process.

Mistral makes its providers when it needs them first. Threads that need them at the same moment make
their own each.
"""

from __future__ import annotations

import threading
from typing import Final

from st2actions_mistral.bridge.clients import client_for
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.config.provider import ProviderSettings
from st2actions_mistral.provider.catalogue import Catalogue
from st2actions_mistral.provider.listing import BOUNDS, list_actions

_lock: Final = threading.Lock()
_catalogues: Final[dict[tuple[St2Settings, ProviderSettings], Catalogue]] = {}


def catalogue_for(st2: St2Settings, settings: ProviderSettings) -> Catalogue:
    """Return this process's catalogue for these settings."""
    key = (st2, settings)
    with _lock:
        if key not in _catalogues:
            _catalogues[key] = Catalogue(
                lambda: list_actions(client_for(st2, BOUNDS), settings), settings
            )
        return _catalogues[key]


def stop_all() -> None:
    """Stop and forget every catalogue."""
    with _lock:
        for catalogue in _catalogues.values():
            catalogue.stop()
        _catalogues.clear()
