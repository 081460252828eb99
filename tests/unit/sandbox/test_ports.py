"""Ports that are reserved for a server."""

from __future__ import annotations

import socket

import pytest

from st2_mistral_sandbox import ports
from st2_mistral_sandbox.errors import SandboxError

HOST = "127.0.0.1"


def test_port_is_reserved_before_and_after_its_server() -> None:
    with ports.reserve(HOST, 0, "A server") as reserved:
        port = reserved.getsockname()[1]
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, port))
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((HOST, port))
            # create_server sets SO_REUSEADDR.
            with socket.create_server((HOST, port)), socket.create_connection((HOST, port)):
                pass
    with socket.create_server((HOST, port)):
        pass


def test_many_reserved_ports_are_all_different() -> None:
    reserved = [ports.reserve(HOST, 0, "A server") for _ in range(500)]
    try:
        assert len({one.getsockname() for one in reserved}) == len(reserved)
    finally:
        for one in reserved:
            one.close()


def test_port_in_use_is_an_error() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            SandboxError, match=rf"Mistral cannot use port {port} of {HOST}: .*in use. Use --other"
        ):
            ports.reserve(HOST, port, "Mistral", "Use --other.")
