"""Keep StackStorm clients across actions, so that connections are reused.

Mistral creates a new action object, often in a new thread, for every run.
"""

from __future__ import annotations

import os
import threading
from typing import Final

from st2actions_mistral.client import limits
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.st2 import St2Client

_lock: Final = threading.Lock()
_clients: Final[dict[tuple[int, St2Settings, limits.Limits], St2Client]] = {}


def client_for(settings: St2Settings, bounds: limits.Limits = limits.DEFAULT) -> St2Client:
    """Return this process's client for these settings; a fork must not share its parent's sockets.

    :param bounds: what the server may send.
    """
    key = (os.getpid(), settings, bounds)
    with _lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = St2Client(settings, bounds=bounds)
        return client


def close_all() -> None:
    """Close and forget every client."""
    with _lock:
        for client in _clients.values():
            client.close()
        _clients.clear()
