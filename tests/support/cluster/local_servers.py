"""A broker and a database for one test, which may kill them. They listen on loopback only.

RabbitMQ and MariaDB must be installed. Running ones are not used: they may have other users.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.cluster.guarded_process import GuardedProcess, ResourceGuard
from support.ports import own_port

READY_TIMEOUT = 120.0
"""Seconds that a server may take to start."""

# RabbitMQ's own script comes first: Debian's in /usr/sbin runs it as another user.
PLACES = ("/usr/lib/rabbitmq/bin", os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin")

COMMANDS = ("rabbitmq-server", "epmd", "mariadbd", "mariadb-install-db")

BROKER = """\
listeners.tcp.1 = 127.0.0.1:{port}
log.console = true
log.file = false
"""

# This runs at each start, also after a kill.
DATABASE = "CREATE DATABASE IF NOT EXISTS mistral CHARACTER SET utf8mb4;\n"


def missing() -> list[str]:
    """Return the commands that are not installed."""
    return [name for name in COMMANDS if _path(name) is None]


class LocalServer(GuardedProcess):
    """A server that ``start`` waits for, also after it was killed."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        guard: ResourceGuard,
        *,
        ready: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """:param ready: text in the log of a server that is ready."""
        super().__init__(name, command, folder, guard, env)
        self._ready = ready

    def start(self) -> None:
        super().start()
        self.wait_until(lambda: self.has_logged(self._ready), READY_TIMEOUT)


class Broker(LocalServer):
    """A RabbitMQ node, and the port mapper that Erlang needs."""

    def __init__(self, folder: Path, guard: ResourceGuard) -> None:
        home = folder / "rabbitmq"
        home.mkdir()
        port, names = own_port(), own_port()
        config, plugins = home / "rabbitmq.conf", home / "enabled_plugins"
        config.write_text(BROKER.format(port=port), encoding="utf-8")
        plugins.write_text("[].\n", encoding="utf-8")
        env = {
            # Erlang keeps its cookie there.
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names),
            "RABBITMQ_NODENAME": "st2-mistral-e2e@localhost",
            "RABBITMQ_DIST_PORT": str(own_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home),
        }
        super().__init__(
            "broker",
            [_found("rabbitmq-server")],
            folder,
            guard,
            ready="Server startup complete",
            env=env,
        )
        self.url = f"rabbit://guest:guest@127.0.0.1:{port}/%2F"
        mapper = [_found("epmd"), "-address", "127.0.0.1", "-port", str(names)]
        self._mapper = GuardedProcess("epmd", mapper, folder, guard)

    def start(self) -> None:
        self._mapper.start()
        super().start()

    def kill(self) -> None:
        super().kill()
        self._mapper.kill()


class Database(LocalServer):
    """A MariaDB with an empty database."""

    def __init__(self, folder: Path, guard: ResourceGuard) -> None:
        home = folder / "mariadb"
        home.mkdir()
        port, user = own_port(), getpass.getuser()
        begin = home / "begin.sql"
        begin.write_text(DATABASE, encoding="utf-8")
        # At its start MariaDB removes all temporary tables from its folder for them: in /tmp also those
        # of other servers on the machine.
        temporary = home / "tmp"
        temporary.mkdir()
        data = [
            "--no-defaults",
            f"--datadir={home / 'data'}",
            f"--tmpdir={temporary}",
            f"--user={user}",
        ]
        made = subprocess.run(
            [
                _found("mariadb-install-db"),
                *data,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=READY_TIMEOUT,
        )
        assert made.returncode == 0, made.stdout
        command = [
            _found("mariadbd"),
            *data,
            "--bind-address=127.0.0.1",
            f"--port={port}",
            # Relative to its folder: an absolute path may be too long for a socket.
            "--socket=socket",
            f"--init-file={begin}",
        ]
        super().__init__("database", command, folder, guard, ready="ready for connections")
        self.url = f"mysql+pymysql://root@127.0.0.1:{port}/mistral"


def _path(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join(PLACES))


def _found(name: str) -> str:
    path = _path(name)
    assert path is not None, f"{name} is not installed"
    return path
