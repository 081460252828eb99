"""Reserve a port for a server before its start and while it is stopped."""

from __future__ import annotations

import socket

from st2_mistral_sandbox.errors import SandboxError


def reserve(host: str, port: int, owner: str, hint: str = "Choose another port.") -> socket.socket:
    """Return a socket that reserves a port until it is closed.

    A server that sets SO_REUSEADDR, as servers do, may listen on the port. While none does, connections
    are refused.

    :param port: 0 takes a free one, see ``getsockname()``.
    :param owner: the future server, for the error.
    :param hint: the next step, for the error.
    :raises SandboxError: the port is in use.
    """
    reserved = socket.socket()
    try:
        if port:
            # The port may have connections of a server that has ended.
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((host, port))
        # Not before: then the port could be one that another process has reserved.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        reserved.close()
        raise SandboxError(
            f"{owner} cannot use port {port} of {host}: {error.strerror or error}. {hint}"
        ) from error
    return reserved
