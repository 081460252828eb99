"""A real OpenStack Mistral for the sandbox: one child process, one SQLite file, one folder."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from types import TracebackType

from st2_mistral_sandbox import ports
from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.process import ChildProcess

_CONFIG = """\
# Written by st2actions-mistral at every start of the sandbox.
[DEFAULT]
use_stderr = true
# All services are in one process: their messages need no broker.
transport_url = fake:/
rpc_response_timeout = 120
executor_thread_pool_size = 64
# The one that starts what is due at once; the other one looks for it every second.
scheduler_type = default

[database]
# Mistral makes one transaction at a time on SQLite. The sandbox need not survive a power failure, so
# none waits for the disk.
connection = sqlite:///{database}?timeout=60
sqlite_synchronous = false

[scheduler]
# Each of the jobs after an item of a with-items looks at all items, unless the task is complete. With
# few workers the results come first: 300 of them are 3 times as fast as with the default, 10.
in_memory_workers = 2

[api]
host = {host}
port = {port}
# Let a client say that a definition is known to be valid: to see that takes a second and more.
validation_mode = enabled

[pecan]
auth_enable = false

[executor]
# Through messages, as in production: actions run side by side, and arrive as plain JSON. A local
# executor would run the items of a with-items one after the other.
type = remote

[notifier]
type = local

[cron_trigger]
enabled = false

[action_heartbeat]
# An executor cannot die alone here.
check_interval = 0

[action_std_http]
# Let std.http reach the rest of the sandbox, which is on this machine.
denied_cidrs =
"""


class MistralServer:
    """Mistral's API, engine and executor in a child process that cannot outlive this one.

    `folder` holds mistral.conf (written at each start), mistral.sqlite (workbooks and executions; kept)
    and mistral.log (appended to). `port` 0 takes a free one; it is ours from the first start on, until
    `close`. `extra_config` is appended to the configuration file: the place for the plugin's own
    `[st2]` section.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        extra_config: str = "",
    ) -> None:
        self._folder = folder.absolute()
        self._host = host
        self._port = port
        self._extra_config = extra_config
        self._reserved: socket.socket | None = None
        self._child = ChildProcess(
            "Mistral",
            [
                "st2_mistral_sandbox.mistral_process",
                "--config-file",
                str(self.config_path),
            ],
            self.log_path,
        )

    @property
    def config_path(self) -> Path:
        """Mistral's configuration file."""
        return self._folder / "mistral.conf"

    @property
    def log_path(self) -> Path:
        """What Mistral says, level INFO and above."""
        return self._folder / "mistral.log"

    @property
    def url(self) -> str:
        """The root of the API, without a slash at the end; SandboxError while no port is chosen."""
        if not self._port:
            raise SandboxError("Mistral has no URL before it is started")
        return f"http://{self._host}:{self._port}/v2"

    @property
    def pid(self) -> int | None:
        """The process id of the child; None before the first start."""
        return self._child.pid

    def start(self, timeout: float = 120) -> None:
        """Start Mistral and wait up to `timeout` seconds until its API answers.

        Raises SandboxError, with the end of the log, if it ends early or does not answer in time, or if
        the port belongs to somebody else; then nothing is left running.
        """
        # That somebody answers there later must mean that it is ours.
        if self._reserved is None:
            self._reserved = ports.reserve(
                self._host, self._port, "Mistral", "Choose another one with --mistral-port."
            )
            self._port = self._reserved.getsockname()[1]
        self._write_config()
        self._child.start()
        try:
            self._child.wait_until(self._answers, timeout)
        except BaseException:
            self.close()
            raise

    def must_run(self) -> None:
        """Raise SandboxError, with the end of the log, unless it runs."""
        self._child.must_run()

    def stop(self) -> None:
        """Stop Mistral; what it was executing stays in the database as it was. Idempotent."""
        self._child.stop()

    def close(self) -> None:
        """Stop Mistral and leave its port to others. Idempotent; it can be started again."""
        self.stop()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def __enter__(self) -> MistralServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write_config(self) -> None:
        database = self._folder / "mistral.sqlite"
        text = _CONFIG.format(host=self._host, port=self._port, database=database)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It may hold the plugin's credentials.
        self.config_path.touch(mode=0o600)
        self.config_path.write_text(f"{text}\n{self._extra_config}\n", encoding="utf-8")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
