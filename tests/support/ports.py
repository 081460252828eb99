"""Ports for what a test starts itself and has to name before."""

from __future__ import annotations

import socket
from typing import Final

from st2_mistral_sandbox import ports

_RESERVED: Final[list[socket.socket]] = []


def own_port() -> int:
    """A port of 127.0.0.1 that nobody else gets until the tests end. Servers may listen there that
    allow addresses to be used again."""
    reserved = ports.reserve("127.0.0.1", 0, "A test")
    _RESERVED.append(reserved)
    port: int = reserved.getsockname()[1]
    return port
