"""Start OpenStack Mistral as one child process, with its SQLite database in one folder."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from types import TracebackType

from st2_mistral_sandbox import ports
from st2_mistral_sandbox.errors import SandboxError
from st2_mistral_sandbox.process import ChildProcess

_CONFIG = """\
# Written by st2-mistral-sandbox at every start.
[DEFAULT]
use_stderr = true
# All services are in one process: they need no message broker.
transport_url = fake:/
rpc_response_timeout = 120
executor_thread_pool_size = 64
# It starts a job when it is due; the other scheduler polls every second.
scheduler_type = default

[engine]
# With this scheduler, joins would wait forever after a task of a sub-workflow was re-run: Mistral keeps
# the job of this check in memory, and cannot read it. The check is for messages that a broker lost.
execution_integrity_check_delay = -1

[database]
# Mistral runs one transaction at a time on SQLite. None waits for the disk: the database need not
# survive a power failure.
connection = sqlite:///{database}?timeout=60
sqlite_synchronous = false

[scheduler]
# Each job after an item of a with-items reads all items, unless the task is complete. With few workers
# the results are processed first: 300 of them are 3 times as fast as with the default, 10 workers.
in_memory_workers = 2

[api]
host = {host}
port = {port}
# A client may skip the validation of a definition that is known to be valid.
validation_mode = enabled

[pecan]
auth_enable = false

[executor]
# By messages, as in production: actions run in parallel and get plain JSON. A local executor would run
# the items of a with-items one after the other.
type = remote

[notifier]
type = local

[st2_relay]
# Where the notifier reads workflows.
mistral_url = {url}

[cron_trigger]
enabled = false

[action_heartbeat]
# The executor cannot die alone: it is in the same process.
check_interval = 0

[action_std_http]
# Let std.http call the rest of the sandbox, on this machine.
denied_cidrs =
"""


class MistralServer:
    """Mistral's API, engine and executor in a child process, which cannot outlive this one.

    :param folder: the folder for mistral.conf, written at each start, mistral.sqlite, which is kept,
        and mistral.log, which is appended to.
    :param port: 0 takes a free one. The port is reserved from the first start until :meth:`close`.
    :param extra_config: lines to append to mistral.conf, such as the group ``[st2]``.
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
        """The path of mistral.conf."""
        return self._folder / "mistral.conf"

    @property
    def log_path(self) -> Path:
        """The path of the log, with level INFO and above."""
        return self._folder / "mistral.log"

    @property
    def url(self) -> str:
        """The root of the API, without a slash at the end.

        :raises SandboxError: it was never started, so that no port is chosen.
        """
        if not self._port:
            raise SandboxError("Mistral has no URL before its first start")
        return f"http://{self._host}:{self._port}/v2"

    @property
    def pid(self) -> int | None:
        """The process id; None before the first start."""
        return self._child.pid

    def start(self, timeout: float = 120) -> None:
        """Start Mistral and wait until its API responds.

        :param timeout: in seconds.
        :raises SandboxError: it ended or did not respond in time, or its port is in use. It is stopped
            then.
        """
        # Reserved first: a response on this port must be from this Mistral.
        if self._reserved is None:
            self._reserved = ports.reserve(
                self._host, self._port, "Mistral", "Choose another port with --mistral-port."
            )
            self._port = self._reserved.getsockname()[1]
        self._write_config()
        self._child.start()
        try:
            self._child.wait_until(self._responds, timeout)
        except BaseException:
            self.close()
            raise

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while Mistral runs or before its first start."""
        return self._child.poll()

    def check_running(self) -> None:
        """Check that Mistral runs.

        :raises SandboxError: it does not. The text ends with its log.
        """
        self._child.check_running()

    def stop(self) -> None:
        """Stop Mistral. Running workflows stay in the database as they are. Idempotent."""
        self._child.stop()

    def close(self) -> None:
        """Stop Mistral and release its port. Idempotent. It can be started again."""
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
        text = _CONFIG.format(host=self._host, port=self._port, database=database, url=self.url)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It may contain credentials.
        self.config_path.touch(mode=0o600)
        self.config_path.write_text(f"{text}\n{self._extra_config}\n", encoding="utf-8")

    def _responds(self) -> bool:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
