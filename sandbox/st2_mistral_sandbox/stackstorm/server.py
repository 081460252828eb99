"""The stand-in as a whole: made, started, stopped."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from st2_mistral_sandbox.stackstorm.auth import Authenticator
from st2_mistral_sandbox.stackstorm.catalog import Catalog
from st2_mistral_sandbox.stackstorm.http_server import HttpServer
from st2_mistral_sandbox.stackstorm.mongodb import ReplicaSet
from st2_mistral_sandbox.stackstorm.routes import Router
from st2_mistral_sandbox.stackstorm.runners import Run, Runner
from st2_mistral_sandbox.stackstorm.state import State
from st2_mistral_sandbox.stackstorm.store import ExecutionStore
from st2_mistral_sandbox.stackstorm.stream import Broadcaster


class StackStorm:
    """A StackStorm in this process; see the package's docstring for what it is and is not.

    ``runners`` maps the names of further runner types to what runs them; ``action_dirs`` are
    folders with action metadata to register. ``packs`` is the folder of all packs, in whose
    ``PACK/actions`` the files of an action are that is made over the API. ``heartbeat`` is in
    seconds, ``backlog`` the number of events that a slow listener of the stream may have waiting.
    ``auth=False`` lets everybody in, as StackStorm with authentication turned off. The port is
    bound at once, so the URLs are known before ``start``.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        runners: Mapping[str, Run | Runner] | None = None,
        action_dirs: Iterable[str | Path] = (),
        *,
        packs: Path | None = None,
        heartbeat: float = 25.0,
        backlog: int = 10_000,
        auth: bool = True,
    ) -> None:
        self.username, self.password = "st2admin", secrets.token_urlsafe(16)
        self._state = State(
            Authenticator(self.username, self.password, required=auth),
            broadcaster=Broadcaster(heartbeat=heartbeat, backlog=backlog),
            catalog=Catalog(packs),
        )
        for name, runner in (runners or {}).items():
            self.register_runner(name, runner)
        for folder in action_dirs:
            self._state.catalog.add_folder(Path(folder))
        self._server = HttpServer((host, port), Router(self._state))
        self.base_url = f"http://{host}:{self._server.server_port}"
        self._state.base_url = self.base_url
        self._state.worker.api_url = self.api_url

    @property
    def api_url(self) -> str:
        return f"{self.base_url}/api/v1"

    @property
    def auth_url(self) -> str:
        return f"{self.base_url}/auth/v1"

    @property
    def stream_url(self) -> str:
        return f"{self.base_url}/stream/v1/stream"

    @property
    def executions(self) -> ExecutionStore:
        return self._state.executions

    @property
    def replica_set(self) -> ReplicaSet:
        """What the pack ``mongodb`` works on."""
        return self._state.replica_set

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return self._state.broadcaster.listeners

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """End every stream, kill every process, join every thread. Cannot be started again."""
        self._state.broadcaster.close()
        self._state.worker.stop()
        self._server.close()

    def __enter__(self) -> StackStorm:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def create_api_key(self, value: str | None = None) -> str:
        """A key for ``username``; with ``value`` that very key."""
        return self._state.authenticator.create_key(self.username, value=value)[1]

    def create_token(self, ttl_seconds: float = 86_400, *, user: str | None = None) -> str:
        """A token of ``username``, or of somebody else."""
        return self._state.authenticator.create_token(user or self.username, ttl_seconds).value

    def register_runner(self, name: str, runner: Run | Runner) -> None:
        """Add a runner type, or replace one of the stand-in's own."""
        if not isinstance(runner, Runner):
            runner = Runner(runner)
        self._state.worker.add_runner(name, runner)
        known = self._state.catalog.runner(name)
        if known is None or runner.metadata:
            self._state.catalog.add_runner({**(known or {}), **runner.metadata, "name": name})

    def register_action(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """As ``st2 action create``: pack, name, runner_type; parameters, entry_point, description,
        enabled. Returns it as ``/v1/actions`` shows it. Raises Fault."""
        return self._state.catalog.add_action(metadata)

    def put_key(self, name: str, value: str, *, secret: bool = False) -> None:
        """Put a value into the datastore (``st2kv.system.<name>``)."""
        self._state.datastore.put(name, value, user=self.username, secret=secret)
