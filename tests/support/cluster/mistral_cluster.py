"""Mistral as in production: a process per service, with RabbitMQ and a database."""

from __future__ import annotations

import http.client
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from st2_mistral_sandbox import examples, mistral_runner
from st2_mistral_sandbox.process import POLL_INTERVAL, STOP_TIMEOUT
from st2_mistral_sandbox.stackstorm import RunResult, StackStorm
from st2actions_mistral.client.auth import St2Credential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.client.st2_login import St2Login
from support import native_examples
from support.cluster.guarded_process import GuardedProcess, ResourceGuard
from support.cluster.local_servers import Broker, Database, LocalServer
from support.cluster.venvs import Venv
from support.ports import own_port

EXECUTORS = ("executor-1", "executor-2")
WITHOUT_DATABASE = "executor-2"

READY_TIMEOUT = 120.0
"""Seconds for all services together."""

# Port 1 refuses connections: a service that uses this database fails, and logs it.
NO_DATABASE = "mysql+pymysql://nobody:nothing@127.0.0.1:1/none"

WITH_AUTH = """\
[DEFAULT]
auth_type = st2

[pecan]
auth_enable = true
"""

CONFIG = """\
[DEFAULT]
use_stderr = true
transport_url = {transport_url}
# The default, and the service that runs each action.
default_log_levels = mistral.executors.executor_server=DEBUG,amqp=WARN,sqlalchemy=WARN

[database]
connection = {connection}

[oslo_messaging_rabbit]
# These clean up the default vhost if no own one could be created. Other queues are deleted after 60
# seconds without a reader.
amqp_auto_delete = {auto_delete}
rabbit_transient_queues_ttl = 60

[api]
host = 127.0.0.1
port = {port}
api_workers = 1
# Tests save workbooks without validation, which takes a second per task.
validation_mode = enabled

{authentication}

[cron_trigger]
# Otherwise the API of Mistral 21 to 23 ignores SIGTERM.
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
notify = {notify}

[event_engine]
topic = {topics}mistral_event_engine

[st2]
api_url = {api_url}
api_key = {api_key}
allowed_api_urls = {other_api_url}
retry_deadline = 5
{st2}

[st2_provider]
enabled = true
refresh_interval = 5

[st2_notifier]
trigger = examples.mistral_event

[st2_relay]
mistral_url = http://127.0.0.1:{port}/v2
resync_interval = 5
reschedule_after = 15
{relay}
"""


class Cluster:
    """One Mistral, the relay and the stand-in. It has those attributes of a Sandbox that tests use."""

    def __init__(
        self,
        version: str,
        venv: Venv,
        folder: Path,
        *,
        own: bool = False,
        auth: bool = False,
        notifier: bool = True,
    ) -> None:
        """Start nothing yet.

        :param own: use a separate broker and database, :attr:`servers`, which tests may kill.
        :param auth: let StackStorm authenticate Mistral's users.
        :param notifier: False publishes events only to whom a workflow names.
        """
        self.version = version
        self.servers: dict[str, LocalServer] = {}
        self._with_own = own
        self._auth = auth
        self._notify = '[{"type": "st2"}]' if notifier else "[]"
        self.venv = venv
        self.folder = folder
        self.context_key: str | None = None
        self.processes: dict[str, GuardedProcess] = {}
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
    def executors(self) -> list[GuardedProcess]:
        return [self.processes[name] for name in EXECUTORS]

    @property
    def relay(self) -> GuardedProcess:
        return self.processes["relay"]

    def ran(self, executor: str, action: str) -> set[str]:
        """Return the action executions that an executor ran, from its log.

        :param action: "St2Action" or "St2Callback". 20.2.0 logs the action's repr, 23.0.0 its class.
        """
        logged = rf"(?:{action}|<{action.lower().replace('st2', 'st2.')} [^>]*>)"
        found = re.findall(
            rf"'run_action'\s*\[action={logged}, action_ex_id=([-0-9a-f]+)",
            self.processes[executor].log,
        )
        return set(found)

    @contextmanager
    def second_api(self, options: str) -> Iterator[str]:
        """Run another process of Mistral's API with more options, and yield its URL."""
        port = own_port()
        file = self.folder / "second-api.conf"
        file.touch(mode=0o600)
        # One file: mistral-server reverses the order of several.
        text = (self.folder / "mistral.conf").read_text(encoding="utf-8")
        file.write_text(f"{text}\n[api]\nport = {port}\n{options}\n", encoding="utf-8")
        command = [self.venv.command("mistral-server"), "--config-file", str(file), "--server", "api"]
        process = GuardedProcess("second-api", command, self.folder, self._guard)
        process.start()
        try:
            process.wait_until(lambda: _answers(port), READY_TIMEOUT)
            yield f"http://127.0.0.1:{port}/v2"
        finally:
            process.kill()

    def wait_until_ready(self) -> None:
        """Wait until all processes are ready, also those that were started again."""
        for name in ("engine", "notifier", *EXECUTORS):
            process = self.processes[name]
            process.wait_until(lambda p=process: p.has_logged("server started."), READY_TIMEOUT)
        self.processes["api"].wait_until(self._api_answers, READY_TIMEOUT)
        self.relay.wait_until(lambda: self.relay.has_logged("Following"), READY_TIMEOUT)

    def _start(self) -> None:
        name = f"st2_mistral_e2e_{self.version.replace('.', '_')}_{uuid.uuid4().hex[:8]}"
        self._guard = ResourceGuard(self.venv, None if self._with_own else name, self.folder)
        self._stack.callback(self._guard.close)
        self._connections = self._start_own() if self._with_own else self._guard.connections
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
        self.wait_until_ready()

    def _start_stand_in(self) -> None:
        native = self.folder / "native" / "examples" / "actions"
        self.native_examples = {example.ref: example for example in native_examples.write(native)}
        self.stackstorm = StackStorm(
            runners={
                "mistral-v2": mistral_runner.runner(
                    lambda: self.mistral, lambda: self.stackstorm.api_url, self.context_key
                ),
                "tests-async": lambda request: RunResult("running", {"note": "started"}),
            },
            action_dirs=[examples.folder(), native],
        )
        self.stackstorm.register_trigger(examples.trigger())
        self.stackstorm.start()
        self._stack.callback(self.stackstorm.stop)
        key = self.stackstorm.create_api_key()
        self.st2_settings = St2Settings(
            api_url=self.stackstorm.api_url, credential=Credential(api_key=key)
        )
        self.st2 = St2Client(self.st2_settings)
        self._stack.callback(self.st2.close)

    def _configure(self) -> None:
        port = own_port()
        # Nothing listens there unless a test starts a server.
        self.other_api_url = f"http://127.0.0.1:{own_port()}/v1"
        self.mistral_settings = MistralSettings(url=f"http://127.0.0.1:{port}/v2")
        self.mistral = self._client()
        self._stack.callback(self.mistral.close)
        given = self._connections
        values = {
            "transport_url": given["transport_url"],
            "connection": given["connection"],
            "auto_delete": str(bool(given["topics"])).lower(),
            "topics": f"{given['topics']}." if given["topics"] else "",
            "port": port,
            "host": "none",
            "notify": self._notify,
            "api_url": self.st2_settings.api_url,
            "api_key": self.st2_settings.credential.api_key,
            "other_api_url": self.other_api_url,
            **self._options(),
        }
        self._write("mistral.conf", values)
        for executor in EXECUTORS:
            own: dict[str, Any] = {"host": executor}
            if executor == WITHOUT_DATABASE:
                own["connection"] = NO_DATABASE
            self._write(f"{executor}.conf", values | own)

    def _client(self) -> MistralClient:
        if not self._auth:
            return MistralClient(self.mistral_settings)
        session = new_session(self.st2_settings.tls)
        self._stack.callback(session.close)
        login = St2Login(St2Credential(self.st2_settings, session))
        return MistralClient(self.mistral_settings, credential=login)

    def _options(self) -> dict[str, str]:
        """Return lines of mistral.conf: ``authentication``, and more lines of ``st2`` and ``relay``."""
        if self._auth:
            return {"authentication": WITH_AUTH, "st2": "", "relay": "auth_type = st2"}
        return {"authentication": "[pecan]\nauth_enable = false", "st2": "", "relay": ""}

    def _start_own(self) -> dict[str, str]:
        """Start the servers, and return the same keys as the resource guard."""
        broker = Broker(self.folder, self._guard)
        database = Database(self.folder, self._guard)
        self.servers = {"broker": broker, "database": database}
        for server in self.servers.values():
            self._stack.callback(server.kill)
            server.start()
        return {"transport_url": broker.url, "connection": database.url, "topics": ""}

    def _write(self, name: str, values: dict[str, Any]) -> None:
        # oslo.config reads $ as a reference to another option.
        escaped = {key: str(value).replace("$", "$$") for key, value in values.items()}
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(CONFIG.format(**escaped), encoding="utf-8")

    def _add_service(self, name: str, service: str, config: str) -> None:
        command = self.venv.command("mistral-server")
        self._add(name, command, "--config-file", config, "--server", service)

    def _add(self, name: str, *command: str) -> None:
        self.processes[name] = GuardedProcess(name, command, self.folder, self._guard)

    def _stop(self) -> None:
        for process in self.processes.values():
            process.ask_to_end()
        # Wait for all of them at once: each takes several seconds.
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline and any(p.poll() is None for p in self.processes.values()):
            time.sleep(POLL_INTERVAL)
        for process in self.processes.values():
            process.kill()

    def _api_answers(self) -> bool:
        return _answers(int(self.mistral_settings.url.rpartition(":")[2].partition("/")[0]))


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
