"""Find the broker and the database for the tests with real processes.

Environment variables, with their defaults:

``ST2_MISTRAL_E2E_AMQP`` (``amqp://guest:guest@127.0.0.1:5672``)
    RabbitMQ, with a user who may use a vhost that the tests create.
``ST2_MISTRAL_E2E_RABBITMQ_API`` (``http://HOST-OF-RABBITMQ:15672``)
    Its management API, which creates the vhost if ``rabbitmqctl`` cannot be used.
``ST2_MISTRAL_E2E_MYSQL`` (``mysql://root@127.0.0.1:3306``)
    MariaDB or MySQL, with a user who may create databases.

This module needs only the standard library: ``resource_guard`` uses it in a virtualenv of Mistral.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

AMQP = "ST2_MISTRAL_E2E_AMQP"
RABBITMQ_API = "ST2_MISTRAL_E2E_RABBITMQ_API"
MYSQL = "ST2_MISTRAL_E2E_MYSQL"

CONNECT_TIMEOUT = 5.0
"""Seconds that a service may take to respond."""


@dataclass(frozen=True)
class Server:
    """One server and the credentials for it."""

    name: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    login: str = field(repr=False)
    """``user:password@host:port`` from the URL."""

    def __str__(self) -> str:
        return f"{self.name} at {self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """True if command line tools on this machine can reach the server."""
        return self.host in ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Services:
    broker: Server
    database: Server
    rabbitmq_api: str


def from_environment() -> Services:
    broker = _server("RabbitMQ", os.environ.get(AMQP) or "amqp://guest:guest@127.0.0.1:5672", 5672)
    database = _server("MariaDB", os.environ.get(MYSQL) or "mysql://root@127.0.0.1:3306", 3306)
    api = os.environ.get(RABBITMQ_API) or f"http://{broker.host}:15672"
    return Services(broker, database, api.rstrip("/"))


def unreachable(services: Services) -> list[str]:
    """Return a message for each service that does not respond."""
    found = []
    # A broker answers a header that it does not support with its own.
    if not _responds(services.broker, b"AMQP", greeting=b"AMQP\x00\x00\x00\x00"):
        found.append(f"{services.broker} does not respond ({AMQP})")
    # A database sends the protocol version, 10, after the length and number of the packet.
    if not _responds(services.database, b"\x0a", skip=4):
        found.append(f"{services.database} does not respond ({MYSQL})")
    return found


def _server(name: str, url: str, port: int) -> Server:
    parts: SplitResult = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Server(name, host, parts.port or port, user, password, parts.netloc)


def _responds(server: Server, expected: bytes, *, greeting: bytes = b"", skip: int = 0) -> bool:
    try:
        with socket.create_connection((server.host, server.port), CONNECT_TIMEOUT) as connection:
            connection.settimeout(CONNECT_TIMEOUT)
            connection.sendall(greeting)
            return connection.recv(64)[skip:].startswith(expected)
    except OSError:
        return False
