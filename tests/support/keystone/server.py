"""Start keystone as a child process with a SQLite database that is copied from a template."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from st2_mistral_sandbox.process import ChildProcess
from support.keystone import cloud
from support.keystone.api import ADMIN, Keystone, password_of
from support.ports import own_port

TESTS: Final = Path(__file__).parents[2]

READY_TIMEOUT: Final = 120.0
"""Seconds that keystone may take to start."""

REGION: Final = "0f3c27f7a1dc4f1d8c8b5a6c0b8c4c11"
"""The region of all endpoints. Keystone warns about names that are no UUID."""

CONFIG: Final = """\
[DEFAULT]
use_stderr = true
public_endpoint = {url}

[database]
connection = sqlite:///{folder}/keystone.sqlite?timeout=60
sqlite_synchronous = false

[cache]
# Without a cache each request takes 40 queries, 0.1 s. Keystone drops what a request changes. But a
# request that read a user before a change can store it after the change.
backend = dogpile.cache.memory_pickle
expiration_time = 2

[fernet_tokens]
key_repository = {folder}/keys

[fernet_receipts]
key_repository = {folder}/keys

[identity]
# The fewest that bcrypt allows.
password_hash_rounds = 4

{options}
"""


class KeystoneServer:
    """Keystone in a child process, which cannot outlive this one.

    :param folder: a new folder for the configuration, the database and the log.
    :param template: a folder that :func:`make_template` filled.
    :param options: more lines of keystone.conf, such as ``[token]`` with ``expiration``.
    """

    def __init__(self, folder: Path, template: Path, options: str = "") -> None:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        self._port = own_port()
        self.root = f"http://127.0.0.1:{self._port}"
        self._config = _configure(folder, self.root, options)
        self._child = _Child(self._config, self._port, folder / "keystone.log")

    @property
    def url(self) -> str:
        """The URL of version 3 of the API."""
        return f"{self.root}/v3"

    @property
    def log(self) -> str:
        return "\n".join(self._child.tail(100_000))

    def start(self) -> None:
        """Start keystone, and wait until it responds."""
        self._child.start()
        self._child.wait_until(self._responds, READY_TIMEOUT)

    def stop(self) -> None:
        """Stop keystone. The database is kept."""
        self._child.stop()

    def __enter__(self) -> KeystoneServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _responds(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", "/v3")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class _Child(ChildProcess):
    """The process, without coverage: it runs nothing of this package."""

    def __init__(self, config: Path, port: int, log: Path) -> None:
        super().__init__(
            "Keystone",
            ["st2_mistral_sandbox.parent_watch", "support.keystone.serve"],
            log,
            _environment() | {"OS_KEYSTONE_CONFIG_FILES": str(config), "PORT": str(port)},
        )

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *self.args],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=self._env,
            start_new_session=True,
        )


def make_template(folder: Path) -> None:
    """Create the database and the Fernet keys with keystone's own commands.

    This takes 5 s of processor time.
    """
    config = _configure(folder, "http://127.0.0.1:1", "")
    # Keystone replaces the variable by the option when it shows the catalogue.
    url = "$(public_endpoint)s/v3"
    owner = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    endpoints = [f"--bootstrap-{interface}-url={url}" for interface in ("public", "internal", "admin")]
    user = [f"--bootstrap-username={ADMIN}", f"--bootstrap-password={password_of(ADMIN)}"]
    commands = [
        ["db_sync"],
        ["fernet_setup", *owner],
        ["bootstrap", *user, f"--bootstrap-region-id={REGION}", *endpoints],
    ]
    done = subprocess.run(
        [sys.executable, "-m", "support.keystone.bootstrap"],
        input=json.dumps([["--config-file", str(config), *command] for command in commands]),
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=READY_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@contextmanager
def running(folder: Path, template: Path, options: str = "") -> Iterator[Keystone]:
    """Start keystone with the projects and users of :mod:`support.keystone.cloud`."""
    with KeystoneServer(folder, template, options) as server:
        keystone = Keystone(server.url)
        cloud.populate(keystone)
        yield keystone


def _configure(folder: Path, url: str, options: str) -> Path:
    config = folder / "keystone.conf"
    config.write_text(CONFIG.format(url=url, folder=folder, options=options), encoding="utf-8")
    return config


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return environment | {
        "PYTHONPATH": str(TESTS),
        "PYTHONUNBUFFERED": "1",
        # oslo.service, which keystone does not use, warns at each start.
        "PYTHONWARNINGS": "ignore",
    }
