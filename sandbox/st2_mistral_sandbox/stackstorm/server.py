"""Create, start and stop a StackStorm stand-in."""

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
    """A StackStorm in this process: a test double for clients of its API.

    It is a context manager, which calls :meth:`start` and :meth:`stop`. The constructor binds the port,
    so that the URLs are known before the start. Actions run in worker threads of this process. The
    package's docstring lists the limits.

    :param host: the address to listen on. Anybody who reaches it can run commands.
    :param port: 0 takes a free one.
    :param runners: further runner types by name.
    :param action_dirs: folders ``PACK/actions`` whose actions to register. Workbooks belong in a folder
        below, ``PACK/actions/workflows``.
    :param packs: the folder of all packs. An action that is created over the API has its entry point in
        ``PACK/actions`` below it.
    :param heartbeat: seconds between two empty lines on an idle event stream.
    :param backlog: unread events after which a stream is closed.
    :param auth: False accepts requests without a credential, as StackStorm does if authentication is
        off.
    :raises RegistrationError: ``action_dirs`` has a file that is not the metadata of an action.
    :ivar username: the user whose password is ``password``.
    :ivar base_url: the URL of all services; :attr:`api_url` and the others are below it.
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
        """The URL of the API, with version: ``http://HOST:PORT/api/v1``."""
        return f"{self.base_url}/api/v1"

    @property
    def auth_url(self) -> str:
        """The URL of the authentication service, with version."""
        return f"{self.base_url}/auth/v1"

    @property
    def stream_url(self) -> str:
        """The URL of the event stream."""
        return f"{self.base_url}/stream/v1/stream"

    @property
    def executions(self) -> ExecutionStore:
        """The executions: ``get``, ``all``, ``wait``, ``set_status`` and ``remove``."""
        return self._state.executions

    @property
    def replica_set(self) -> ReplicaSet:
        """The simulated replica set of the pack ``mongodb``."""
        return self._state.replica_set

    @property
    def listeners(self) -> int:
        """The number of open event streams."""
        return self._state.broadcaster.listeners

    def start(self) -> None:
        """Accept requests."""
        self._server.start()

    def stop(self) -> None:
        """Close all streams, kill all processes and join all threads. It cannot be started again."""
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

    def create_api_key(self, value: str | None = None, *, user: str | None = None) -> str:
        """Create an API key of ``username``, or of another user, and return it; ``value`` sets it."""
        return self._state.authenticator.create_key(user or self.username, value=value)[1]

    def create_token(self, ttl_seconds: float = 86_400, *, user: str | None = None) -> str:
        """Create a token of ``username``, or of another user, and return it."""
        return self._state.authenticator.create_token(user or self.username, ttl_seconds).value

    def revoke_token(self, value: str) -> None:
        """Delete a token, if it exists."""
        self._state.authenticator.revoke_token(value)

    def set_roles(self, user: str, roles: Iterable[str]) -> None:
        """Give a user RBAC roles, which ``/v1/user`` shows. They allow and forbid nothing."""
        self._state.authenticator.set_roles(user, roles)

    def register_runner(self, name: str, runner: Run | Runner) -> None:
        """Add a runner type, or replace a built-in one.

        :param runner: a function that gets a :class:`RunRequest` and returns a :class:`RunResult`, or a
            :class:`Runner` if it needs a cancellation or metadata.
        """
        if not isinstance(runner, Runner):
            runner = Runner(runner)
        self._state.worker.add_runner(name, runner)
        known = self._state.catalog.runner(name)
        if known is None or runner.metadata:
            self._state.catalog.add_runner({**(known or {}), **runner.metadata, "name": name})

    def register_action(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Register an action, or replace the one with the same ref, as ``st2 action create`` does.

        :param metadata: ``pack``, ``name``, ``runner_type``; optional ``parameters``, ``entry_point``,
            ``description``, ``enabled``.
        :return: the action as ``/v1/actions`` shows it.
        :raises Fault: 400, invalid metadata or unknown runner type.
        """
        return self._state.catalog.add_action(metadata)

    def register_trigger(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Register a trigger type, or replace the one with the same ref.

        :param metadata: ``pack``, ``name``; optional ``payload_schema``, ``parameters_schema``,
            ``description``.
        :return: the trigger type as ``/v1/triggertypes`` shows it.
        :raises Fault: 400, invalid metadata.
        """
        return self._state.triggers.register(metadata)

    def trigger_instances(self, trigger: str | None = None) -> list[dict[str, Any]]:
        """Return the instances of all triggers or of one, the newest first."""
        return self._state.triggers.instances(trigger)

    def put_key(self, name: str, value: str, *, secret: bool = False) -> None:
        """Set a value of the datastore (``st2kv.system.NAME``)."""
        self._state.datastore.put(name, value, user=self.username, secret=secret)
