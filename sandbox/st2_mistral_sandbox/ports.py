"""Ports that stay ours before a server listens there, and while it is away."""

from __future__ import annotations

import socket

from st2_mistral_sandbox.errors import SandboxError


def reserve(host: str, port: int, owner: str, advice: str = "Choose another one.") -> socket.socket:
    """A socket that keeps everybody else off a port for as long as it is open.

    A server that allows addresses to be used again (SO_REUSEADDR, as servers do) may listen there all
    the same; while none does, connections are refused.

    :param port: 0 takes a free one: ``getsockname()`` tells which.
    :param owner: who wants it, for the error.
    :param advice: the next step, for the error.
    :raises SandboxError: somebody has it.
    """
    reserved = socket.socket()
    try:
        if port:
            # Connections of a server that has gone are no obstacle.
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((host, port))
        # Set before, it could have let us have somebody else's reservation.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as e:
        reserved.close()
        raise SandboxError(
            f"{owner} cannot have port {port} of {host}: {e.strerror or e}. {advice}"
        ) from e
    return reserved
