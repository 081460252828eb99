"""The broker and the database of the real-process suite: where they are, and whether they answer.

From the environment, with the defaults:

``ST2_MISTRAL_E2E_AMQP`` (``amqp://guest:guest@127.0.0.1:5672``)
    RabbitMQ, and a user who may use a vhost that is made for the tests.
``ST2_MISTRAL_E2E_RABBITMQ_API`` (``http://HOST-OF-RABBITMQ:15672``)
    Its management API, asked for a vhost where ``rabbitmqctl`` cannot be used.
``ST2_MISTRAL_E2E_MYSQL`` (``mysql://root@127.0.0.1:3306``)
    MariaDB or MySQL, and a user who may create databases.

Only the standard library is used here: the steward runs this in a virtualenv of Mistral.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

AMQP = "ST2_MISTRAL_E2E_AMQP"
RABBITMQ_API = "ST2_MISTRAL_E2E_RABBITMQ_API"
MYSQL = "ST2_MISTRAL_E2E_MYSQL"

TIMEOUTS = 5.0
"""Seconds that a service may take to say that it is there."""


@dataclass(frozen=True)
class Server:
    """One server and who we are to it."""

    name: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    login: str = field(repr=False)
    """``user:password@host:port`` as it stood in the URL."""

    def __str__(self) -> str:
        return f"{self.name} at {self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether command line tools on this machine can mean the same server."""
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


def missing(services: Services) -> list[str]:
    """Those that do not answer, in words."""
    found = []
    # A broker waits for the client to speak; with a header that it does not like it answers its own.
    if not _says(services.broker, b"AMQP", greeting=b"AMQP\x00\x00\x00\x00"):
        found.append(f"{services.broker} does not answer ({AMQP})")
    # The version of the protocol, 10, after the packet's length and number.
    if not _says(services.database, b"\x0a", skip=4):
        found.append(f"{services.database} does not answer ({MYSQL})")
    return found


def _server(name: str, url: str, port: int) -> Server:
    parts: SplitResult = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Server(name, host, parts.port or port, user, password, parts.netloc)


def _says(server: Server, expected: bytes, *, greeting: bytes = b"", skip: int = 0) -> bool:
    try:
        with socket.create_connection((server.host, server.port), TIMEOUTS) as connection:
            connection.settimeout(TIMEOUTS)
            connection.sendall(greeting)
            return connection.recv(64)[skip:].startswith(expected)
    except OSError:
        return False
