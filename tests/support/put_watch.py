"""A server before the StackStorm stand-in that sees, and can break, what finishes executions."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

import requests

from st2actions_mistral.model import states
from support.breaking_servers import Behaviour, BreakingServer, Exchange, Request, answer


@dataclass(frozen=True)
class Put:
    """One request that wants to change an execution, and its answer."""

    execution_id: str
    wanted: str
    """The status in the request."""
    answered: int
    status: str | None
    """The status of the execution in the answer."""

    @property
    def ended_it(self) -> bool:
        return self.answered == 200 and self.status in states.ST2_FINAL


class PutWatch(BreakingServer):
    """Passes requests on. Its URL takes the place of the stand-in's.

    :param root: scheme, host and port of the stand-in.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock_of_puts = threading.Lock()
        self.puts: list[Put] = []
        self.fault: Behaviour | None = None
        """Handles the requests that want a final status, if it is set."""
        super().__init__(self._act)

    def ends(self) -> Counter[str]:
        """Return how often each execution was given a final status."""
        with self._lock_of_puts:
            return Counter(put.execution_id for put in self.puts if put.ended_it)

    def pass_on(self, exchange: Exchange) -> bool:
        """Pass a request on, and record it if it changes an execution."""
        request = exchange.request
        assert request is not None
        headers = {n: v for n, v in request.headers.items() if n not in ("host", "connection")}
        found = requests.request(
            request.method,
            f"{self._root}{request.path}",
            data=request.body,
            headers=headers,
            timeout=30,
        )
        if _changes_execution(request):
            body = found.json()
            put = Put(
                request.path.rpartition("/")[2],
                str(request.json().get("status")),
                found.status_code,
                body.get("status"),
            )
            with self._lock_of_puts:
                self.puts.append(put)
        kept = {n: found.headers[n] for n in ("Content-Type", "X-Total-Count") if n in found.headers}
        return answer(found.status_code, found.content, kept)(exchange)

    def _act(self, exchange: Exchange) -> bool:
        request, fault = exchange.request, self.fault
        assert request is not None
        if fault is None or not _changes_execution(request):
            return self.pass_on(exchange)
        wanted = request.json().get("status")
        return fault(exchange) if wanted in states.ST2_FINAL else self.pass_on(exchange)


def _changes_execution(request: Request) -> bool:
    return request.method == "PUT" and "/executions/" in request.path
