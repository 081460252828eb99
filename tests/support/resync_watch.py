"""Wait for a relay's resyncs without relying on time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from st2_mistral_sandbox.sandbox import Sandbox
from support.breaking_servers import BreakingServer, Request, forward
from support.waiting import eventually


class ResyncWatch(BreakingServer):
    """A server between a sandbox's relay and Mistral that counts the relay's resyncs.

    :param sandbox: a sandbox that runs, with ``relay=False``. Entering the context starts its relay.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._mistral_root = sandbox.mistral_settings.url.removesuffix("/v2")
        super().__init__(forward(self._mistral_root))

    def __enter__(self) -> ResyncWatch:
        super().__enter__()
        config = Path(self._sandbox.relay.args[-1])
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace(self._mistral_root, self.url), encoding="utf-8")
        self._sandbox.start_relay()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._sandbox.relay.stop()
        super().__exit__(*exc_info)

    def wait_for_resync(self) -> None:
        """Wait until a resync has started and ended after this call."""
        wait_for_resync(self)


def wait_for_resync(server: BreakingServer) -> None:
    """Wait until a resync of the only relay has started and ended after this call.

    Each resync lists the running actions once. One may be in progress now, so the next listing starts a
    new resync, and the one after that shows that it has ended.

    :param server: between the relay and Mistral.
    """

    def listings() -> int:
        return sum(map(_lists_running_actions, list(server.requests)))

    before = listings()
    eventually(lambda: listings() >= before + 2, "a resync")


def _lists_running_actions(request: Request) -> bool:
    path, _, query = request.path.partition("?")
    return (
        request.method == "GET"
        and path.endswith("/v2/action_executions")
        and "state=RUNNING" in query
        and "marker=" not in query
    )
