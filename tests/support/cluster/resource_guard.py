"""Remove the vhost, the database and the processes of the tests, however the tests end.

    python resource_guard.py [NAME]

runs in a virtualenv of Mistral, for PyMySQL and amqp. It creates a vhost and a database of the given
name, or neither without a name, and prints how to connect to them as one line of JSON. Then it reads
the ids of process groups from its standard input, one per line; a negative id is a group that has
ended. At the end of the input, also if the tests were killed, it ends the remaining groups, drops the
database and removes the vhost.

Vhosts are created with ``rabbitmqctl``, or else through the management API. If neither works, the
default vhost is used, with own topics and with queues that the broker deletes with their last reader.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import quote

import amqp
import pymysql
import services

RABBITMQCTL_TIMEOUT = 30
"""Seconds for one call of rabbitmqctl, which starts an Erlang machine each time."""

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL for a process group."""

# After one of these errors the next way to create a vhost is tried.
FAILURES = (OSError, subprocess.SubprocessError, amqp.AMQPError)


def main() -> None:
    # Only the end of the input ends this process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    with ExitStack() as stack:
        connections = create(sys.argv[1], stack) if len(sys.argv) > 1 else {}
        stack.callback(end_groups, groups)
        print(json.dumps(connections), flush=True)
        for line in sys.stdin:
            number = int(line)
            if number > 0:
                groups.add(number)
            else:
                groups.discard(-number)


def create(name: str, stack: ExitStack) -> dict[str, str]:
    """Create a vhost and a database until the stack is closed, and return how to connect to them."""
    known = services.from_environment()
    vhost, how = stack.enter_context(vhost_of(known, name))
    stack.enter_context(database_of(known, name))
    return {
        "how": how,
        "transport_url": f"rabbit://{known.broker.login}/{quote(vhost, safe='')}",
        "topics": "" if how != "default" else name,
        "connection": f"mysql+pymysql://{known.database.login}/{name}",
    }


@contextmanager
def database_of(known: services.Services, name: str) -> Iterator[None]:
    run_sql(known, f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    try:
        yield
    finally:
        run_sql(known, f"DROP DATABASE `{name}`")


def run_sql(known: services.Services, statement: str) -> None:
    server = known.database
    connection = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def vhost_of(known: services.Services, name: str) -> Iterator[tuple[str, str]]:
    """Create a vhost, and yield its name and the way it was created."""
    for how, make, remove in (
        ("rabbitmqctl", with_rabbitmqctl, "delete_vhost"),
        ("management API", with_api, "DELETE"),
    ):
        try:
            make(known, name)
            connect(known, name)
        except FAILURES as error:
            print(f"no vhost with {how}: {error}", file=sys.stderr)
            with suppress(*FAILURES):
                make(known, name, remove)
            continue
        try:
            yield name, how
        finally:
            make(known, name, remove)
        return
    connect(known, "/")
    yield "/", "default"


def with_rabbitmqctl(known: services.Services, name: str, remove: str | None = None) -> None:
    if not known.broker.is_local:
        raise OSError("the broker is on another host")
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    command = shutil.which("rabbitmqctl", path=path)
    if command is None:
        raise OSError("there is no rabbitmqctl")

    def call(*words: str) -> None:
        subprocess.run(
            [command, "--quiet", *words], check=True, capture_output=True, timeout=RABBITMQCTL_TIMEOUT
        )

    if remove:
        call(remove, name)
    else:
        call("add_vhost", name)
        call("set_permissions", "--vhost", name, known.broker.user, ".*", ".*", ".*")


def with_api(known: services.Services, name: str, remove: str | None = None) -> None:
    user = quote(known.broker.user, safe="")
    login = base64.b64encode(f"{known.broker.user}:{known.broker.password}".encode()).decode()

    def call(method: str, path: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(
            f"{known.rabbitmq_api}/api/{path}",
            body,
            {"Authorization": f"Basic {login}", "Content-Type": "application/json"},
            method=method,
        )
        urllib.request.urlopen(request, timeout=services.CONNECT_TIMEOUT).close()

    if remove:
        call(remove, f"vhosts/{name}")
    else:
        call("PUT", f"vhosts/{name}")
        everything = json.dumps({"configure": ".*", "write": ".*", "read": ".*"}).encode()
        call("PUT", f"permissions/{name}/{user}", everything)


def connect(known: services.Services, vhost: str) -> None:
    """Connect to the vhost, to check that it is on the broker that Mistral will use."""
    server = known.broker
    connection = amqp.Connection(
        host=f"{server.host}:{server.port}",
        userid=server.user,
        password=server.password,
        virtual_host=vhost,
        connect_timeout=services.CONNECT_TIMEOUT,
    )
    connection.connect()
    connection.close()


def end_groups(groups: set[int]) -> None:
    """End all process groups that still run."""

    def send(number: signal.Signals) -> None:
        for group in groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)

    send(signal.SIGTERM)
    wait_for(lambda: not any(map(is_alive, groups)), GRACE)
    send(signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, groups)), GRACE)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    main()
