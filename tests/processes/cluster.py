"""Mistral as it is in production: each service a process, RabbitMQ and a database between them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

from faults.proxy import Door
from venvs import Venv, clean_environment

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.sandbox import examples, starter
from st2actions_mistral.sandbox.process import ChildProcess
from st2actions_mistral.sandbox.stackstorm import RunResult, StackStorm

STEWARD = Path(__file__).with_name("steward.py")

EXECUTORS = ("executor-1", "executor-2")
WITHOUT_DATABASE = "executor-2"

READY_TIMEOUT = 60.0
"""Seconds for all services together."""

# Port 1 answers nobody: whoever asks the database there fails, and says so in its log.
NO_DATABASE = "mysql+pymysql://nobody:nothing@127.0.0.1:1/none"

CONFIG = """\
[DEFAULT]
use_stderr = true
transport_url = {transport_url}
# The default, and which service runs which action.
default_log_levels = mistral.executors.executor_server=DEBUG,amqp=WARN,sqlalchemy=WARN

[database]
connection = {connection}

[oslo_messaging_rabbit]
# These matter where the broker gave us no vhost: nothing of ours stays in the default one. The queues
# that do not delete themselves go after so many seconds without a reader.
amqp_auto_delete = {auto_delete}
rabbit_transient_queues_ttl = 60

[api]
host = 127.0.0.1
port = {port}
api_workers = 1

[pecan]
auth_enable = false

[cron_trigger]
# Or the API of 21 to 23 does not leave on SIGTERM.
enabled = false

[engine]
host = engine
topic = {topics}mistral_engine

[executor]
type = remote
host = {host}
topic = {topics}mistral_executor

[notifier]
type = remote
host = notifier
topic = {topics}mistral_notifier

[event_engine]
topic = {topics}mistral_event_engine

[st2]
api_url = {api_url}
api_key = {api_key}
allowed_api_urls = {nowhere}
retry_deadline = 5

[st2_relay]
mistral_url = http://127.0.0.1:{port}/v2
reconcile_interval = 5
adopt_after = 15
"""


class Process(ChildProcess):
    """A program of a virtualenv, and whatever it starts, with a log of its own."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, steward: Steward) -> None:
        super().__init__(name, command, folder / f"{name}.log")
        self._folder = folder
        self._steward = steward

    def start(self) -> None:
        super().start()
        assert self.pid is not None
        self._steward.watch(self.pid)

    def ask_to_end(self) -> None:
        """Send SIGTERM to all of it, and do not wait."""
        self._kill_group(signal.SIGTERM)

    def kill(self) -> None:
        """All of it at once, as when its host loses power."""
        self._kill_group(signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        super().stop()
        # From 21 on a service is a master and its workers; one of those may outlive it.
        self._kill_group(signal.SIGKILL)
        if self.pid is not None:
            self._steward.forget(self.pid)

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.args,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=clean_environment() | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    def _kill_group(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


class Steward:
    """See ``steward.py``: the vhost, the database, and the end of everything."""

    def __init__(self, venv: Venv, name: str, folder: Path) -> None:
        self.log_path = folder / "steward.log"
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [venv.python, str(STEWARD), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=clean_environment(),
                start_new_session=True,
                text=True,
            )
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            self.close()
        self.given: dict[str, str] = json.loads(answer)

    def watch(self, group: int) -> None:
        """See to it that a process group ends with us."""
        self._tell(group)

    def forget(self, group: int) -> None:
        """A process group has ended: its number may become somebody else's."""
        self._tell(-group)

    def close(self) -> None:
        """Have everything given back. Fails where something was not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        code = self._process.wait(120)
        self._process.stdout.close()
        assert code == 0, self.log_path.read_text(encoding="utf-8")

    def _tell(self, number: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()


class Cluster:
    """One Mistral, the relay and the stand-in, with the attributes of a Sandbox that its tests use."""

    def __init__(self, version: str, venv: Venv, folder: Path, *, doors: bool = False) -> None:
        """:param doors: reach broker and database through :attr:`doors`, which can be shut."""
        self.version = version
        self.doors: dict[str, Door] = {}
        self._with_doors = doors
        self.venv = venv
        self.folder = folder
        self.processes: dict[str, Process] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def executors(self) -> list[Process]:
        return [self.processes[name] for name in EXECUTORS]

    @property
    def relay(self) -> Process:
        return self.processes["relay"]

    def ran(self, executor: str, action: str) -> set[str]:
        """The action executions that an executor ran, by its own log.

        :param action: "St2Action" or "St2Callback". 20.2.0 logs the action's repr, 23.0.0 its class.
        """
        logged = rf"(?:{action}|<{action.lower().replace('st2', 'st2.')} [^>]*>)"
        found = re.findall(
            rf"'run_action'\s*\[action={logged}, action_ex_id=([-0-9a-f]+)",
            self.processes[executor].log,
        )
        return set(found)

    def _start(self) -> None:
        name = f"st2_mistral_e2e_{self.version.replace('.', '_')}_{uuid.uuid4().hex[:8]}"
        self._steward = Steward(self.venv, name, self.folder)
        self._stack.callback(self._steward.close)
        self._start_stand_in()
        self._configure()
        config = str(self.folder / "mistral.conf")
        self.venv.run(
            self.venv.command("mistral-db-manage"), "--config-file", config, "upgrade", "head"
        )
        for service in ("api", "engine", "notifier"):
            self._add_service(service, service, config)
        for executor in EXECUTORS:
            self._add_service(executor, "executor", str(self.folder / f"{executor}.conf"))
        self._add("relay", self.venv.command("st2-mistral"), "relay", "--config-file", config)
        self._stack.callback(self._stop)
        for process in self.processes.values():
            process.start()
        self._wait()

    def _start_stand_in(self) -> None:
        self.stackstorm = StackStorm(
            runners={
                "mistral-v2": starter.runner(lambda: self.mistral, lambda: self.stackstorm.api_url),
                "tests-async": lambda request: RunResult("running", {"note": "started"}),
            },
            action_dirs=[examples.folder()],
        )
        self.stackstorm.start()
        self._stack.callback(self.stackstorm.stop)
        key = self.stackstorm.create_api_key()
        self.st2_settings = St2Settings(
            api_url=self.stackstorm.api_url, credential=Credential(api_key=key)
        )
        self.st2 = St2Client(self.st2_settings)
        self._stack.callback(self.st2.close)

    def _configure(self) -> None:
        port = free_port()
        self.nowhere = f"http://127.0.0.1:{free_port()}/v1"
        self.mistral_settings = MistralSettings(url=f"http://127.0.0.1:{port}/v2")
        self.mistral = MistralClient(self.mistral_settings)
        self._stack.callback(self.mistral.close)
        given = dict(self._steward.given)
        if self._with_doors:
            for part, key in (("broker", "transport_url"), ("database", "connection")):
                given[key] = self._behind_a_door(part, given[key])
        values = {
            "transport_url": given["transport_url"],
            "connection": given["connection"],
            "auto_delete": str(bool(given["topics"])).lower(),
            "topics": f"{given['topics']}." if given["topics"] else "",
            "port": port,
            "host": "none",
            "api_url": self.st2_settings.api_url,
            "api_key": self.st2_settings.credential.api_key,
            "nowhere": self.nowhere,
        }
        self._write("mistral.conf", values)
        for executor in EXECUTORS:
            own: dict[str, Any] = {"host": executor}
            if executor == WITHOUT_DATABASE:
                own["connection"] = NO_DATABASE
            self._write(f"{executor}.conf", values | own)

    def _behind_a_door(self, part: str, url: str) -> str:
        port = urlsplit(url).port
        assert port is not None
        door = self.doors[part] = self._stack.enter_context(Door(port))
        return url.replace(f":{port}/", f":{door.port}/", 1)

    def _write(self, name: str, values: dict[str, Any]) -> None:
        # oslo.config takes $ for a reference to another option.
        escaped = {key: str(value).replace("$", "$$") for key, value in values.items()}
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(CONFIG.format(**escaped), encoding="utf-8")

    def _add_service(self, name: str, service: str, config: str) -> None:
        command = self.venv.command("mistral-server")
        self._add(name, command, "--config-file", config, "--server", service)

    def _add(self, name: str, *command: str) -> None:
        self.processes[name] = Process(name, command, self.folder, self._steward)

    def _wait(self) -> None:
        for name in ("engine", "notifier", *EXECUTORS):
            process = self.processes[name]
            process.wait_until(lambda p=process: "server started." in p.log, READY_TIMEOUT)  # type: ignore[misc]
        self.processes["api"].wait_until(self._api_answers, READY_TIMEOUT)
        self.relay.wait_until(lambda: "Following" in self.relay.log, READY_TIMEOUT)

    def _stop(self) -> None:
        for process in self.processes.values():
            process.ask_to_end()
        for process in self.processes.values():
            process.stop()

    def _api_answers(self) -> bool:
        port = int(self.mistral_settings.url.rpartition(":")[2].partition("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
