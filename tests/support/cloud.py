"""A whole Mistral in one process with a real keystone, StackStorm, and relays as processes."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import requests
from keystoneauth1.session import Session

from st2_mistral_sandbox.mistral_server import MistralServer
from st2_mistral_sandbox.process import ChildProcess
from st2_mistral_sandbox.stackstorm import RunRequest, RunResult, StackStorm
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.model.links import RUNNER
from support.breaking_servers import BreakingServer, forward
from support.command_line import run_command
from support.keystone.api import Keystone
from support.keystone.clients import mistral_as
from support.mistral_bench import JOB
from support.ports import own_port
from support.resync_watch import wait_for_resync
from support.waiting import TIMEOUT, eventually
from support.workflow_children import children_of, running_child_of


def _starts(request: RunRequest) -> RunResult:
    return RunResult("running", {"note": "started"})


class Relay(ChildProcess):
    """A relay, and the commands with its configuration.

    :param user: its name in keystone.
    """

    def __init__(self, user: str, config: Path, options: str) -> None:
        self.user = user
        self._port = own_port()
        self._config = config
        config.touch(mode=0o600)
        config.write_text(f"{options}\nhealth_port = {self._port}\n", encoding="utf-8")
        arguments = ["st2actions_mistral.cli.main", "relay", "--config-file", str(config)]
        super().__init__("The relay", arguments, config.with_suffix(".log"))

    def start(self) -> None:
        """Start the relay, and wait until it serves its health."""
        super().start()
        self.wait_until(self._responds, TIMEOUT)

    @property
    def log(self) -> str:
        return "\n".join(self.tail(10_000))

    def failing(self) -> Any:
        return requests.get(f"http://127.0.0.1:{self._port}/failing", timeout=30).json()

    def metrics(self) -> str:
        return requests.get(f"http://127.0.0.1:{self._port}/metrics", timeout=30).text

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of ``st2-mistral``."""
        return run_command(*arguments, "--config-file", self._config)

    def _responds(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self._port}/failing", timeout=30).ok
        except requests.ConnectionError:
            return False


class Cloud:
    """Mistral and StackStorm, and relays and clients for the users of a keystone.

    :param stack: stops everything when it is closed.
    :param context_key: for Mistral and the relays; None: contexts are not signed.
    :param trusts: complete actions with trusts where that is possible.
    """

    def __init__(
        self,
        folder: Path,
        keystone: Keystone,
        stack: ExitStack,
        *,
        context_key: str | None = None,
        trusts: bool = False,
    ) -> None:
        self.keystone = keystone
        self.context_key = context_key
        self._folder = folder
        self._stack = stack
        # Executions of both run until a request finishes them.
        runners = dict.fromkeys(("tests-async", RUNNER), _starts)
        self.stackstorm = stack.enter_context(StackStorm(runners=runners))
        self.stackstorm.register_action(JOB)
        self.stackstorm.register_action({**JOB, "name": "workflow", "runner_type": RUNNER})
        key = self.stackstorm.create_api_key()
        self.st2 = stack.enter_context(
            closing(St2Client(St2Settings(self.stackstorm.api_url, Credential(api_key=key))))
        )
        self._st2 = (
            f"[st2]\napi_url = {self.stackstorm.api_url}\nstream_url = {self.stackstorm.stream_url}\n"
            f"api_key = {key}\n"
        )
        if context_key:
            self._st2 += f"context_key = {context_key}\n"
        authentication = (
            "[pecan]\nauth_enable = true\n"
            f"[keystone_authtoken]\nwww_authenticate_uri = {keystone.url}\n"
            # Otherwise Mistral takes a revoked token for minutes.
            f"token_cache_time = 2\n{keystone.options('mistral', 'service')}"
        )
        self._project_auth = "project_auth = trust\n" if trusts else ""
        # Executors need no password of the relay.
        for_trusts = f"auth_url = {keystone.url}\nuser_id = {keystone.user('relay')}\n"
        executor = f"[st2_relay]\n{self._project_auth}{for_trusts}" if trusts else ""
        server = MistralServer(folder, extra_config=f"{self._st2}\n{authentication}\n{executor}")
        self.mistral_settings = MistralSettings(stack.enter_context(server).url)
        root = self.mistral_settings.url.removesuffix("/v2")
        self._relays = stack.enter_context(BreakingServer(forward(root)))

    def client(self, user: str, project: str) -> MistralClient:
        """Return Mistral as a user sees it with a token for a project."""
        client = mistral_as(user, project, self.keystone, self.mistral_settings)
        self._stack.callback(client.close)
        return client

    def accepts(self, session: Session) -> bool:
        """Return True if Mistral accepts the token of a session, also one that was revoked."""
        url = f"{self.mistral_settings.url}/action_executions?limit=1&fields=id"
        headers = session.get_auth_headers() or {}
        return requests.get(url, headers=headers, timeout=30).ok

    def relay(self, user: str = "relay", project: str = "service") -> Relay:
        """Return a relay that is a user of a project in Mistral. It is not started."""
        relay = Relay(
            user,
            self._folder / f"{user}.conf",
            f"{self._st2}\n[st2_relay]\nmistral_url = {self._relays.url}/v2\n{self._project_auth}"
            "resync_interval = 0.5\nreschedule_after = 1\nlost_after = 2\n"
            f"{self.keystone.options(user, project)}",
        )
        self._stack.callback(relay.stop)
        return relay

    def wait_for_resync(self) -> None:
        """Wait until a resync of the only relay has started and ended."""
        wait_for_resync(self._relays)

    def parent(self) -> dict[str, Any]:
        """Create an execution in StackStorm that runs until a request finishes it."""
        id_ = self.st2.create_execution("tests.job", {})["id"]

        def running() -> dict[str, Any] | None:
            found = self.st2.get_execution(id_)
            return found if found and found["status"] == "running" else None

        return eventually(running, "the parent runs")

    def children_of(self, workflow_execution_id: str) -> list[dict[str, Any]]:
        """Return the executions of a workflow."""
        return children_of(self.stackstorm, workflow_execution_id)

    def child_of(self, workflow_execution_id: str) -> dict[str, Any]:
        """Wait for a running execution of a workflow, and return it."""
        return running_child_of(self.stackstorm, workflow_execution_id)
