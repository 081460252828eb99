"""Proxies that break what passes: between StackStorm's clients and StackStorm, the relay and Mistral,
Mistral and its broker or database.

:class:`FaultProxy` understands HTTP: it knows when a request is complete and when the server has acted
on it, and breaks at the point that a fault names. What it breaks is drawn from a seed, so that a run
can be repeated. :class:`Door` understands nothing, and can be shut.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    Request,
    answer,
    break_in_body,
    forward,
    hang_up,
    raw,
    refuse,
    reset,
    show,
    stall,
    stall_in_body,
)
from support.certificates import Certificates

_HOST: Final = "127.0.0.1"
# Seconds between two bytes of a trickle.
_TRICKLE: Final = 0.002
# Bytes of an event stream that pass before it is cut: some frames, and a part of one.
_CUT_AFTER: Final = 5000
# Seconds for which who connects meets the same: two or three tries.
_A_WHILE: Final = 0.5


def passed_on(target: str) -> Behaviour:
    """Pass a request on, and its answer back as it comes: an event stream never ends."""
    return lambda exchange: _stream(exchange, target)


def trickled(target: str) -> Behaviour:
    """The answer, slowly."""

    def act(exchange: Exchange) -> bool:
        return _stream(exchange, target, piece=16, pause=_TRICKLE)

    return act


def cut(target: str) -> Behaviour:
    """The beginning of the answer; the connection ends in the middle of a frame, or of a body."""
    return lambda exchange: _stream(exchange, target, limit=_CUT_AFTER, share=0.5)


def half_closed(target: str) -> Behaviour:
    """Half of the answer, and the server's side of the connection is shut; the client's is not."""

    def act(exchange: Exchange) -> bool:
        _stream(exchange, target, limit=_CUT_AFTER, share=0.5)
        with contextlib.suppress(OSError):
            exchange.sock.shutdown(socket.SHUT_WR)
        exchange.stopping.wait(0.5)
        return False

    return act


def _after(then: Behaviour) -> Callable[[str], Behaviour]:
    """The server acts, and its answer is lost by what ``then`` does."""
    return lambda target: forward(target, then)


def _before(instead: Behaviour) -> Callable[[str], Behaviour]:
    """The server never hears of it."""
    return lambda target: instead


_UNAVAILABLE: Final = {"faultstring": "not now"}

FAULTS: Final[Mapping[str, Callable[[str], Behaviour]]] = {
    "refuse before": _before(refuse(_A_WHILE)),
    "reset before": _before(reset()),
    "hang up before": _before(hang_up()),
    "silence before": _before(stall()),
    "reset after": _after(reset()),
    "hang up after": _after(hang_up()),
    "silence after": _after(stall()),
    "stall in body": _after(stall_in_body()),
    "break in body": _after(break_in_body()),
    "cut": cut,
    "half-close": half_closed,
    "trickle": trickled,
    **{f"{status} before": _before(answer(status, _UNAVAILABLE)) for status in (500, 502, 503, 504)},
    **{f"{status} after": _after(answer(status, _UNAVAILABLE)) for status in (500, 502, 503, 504)},
    "garbage": _after(raw(b"\x00\xff no HTTP\r\n\r\n", then=hang_up())),
}
"""By name: what becomes of a request to a server, given its URL."""

TLS_FAULTS: Final[Mapping[str, Callable[[Certificates], Behaviour]]] = {
    "expired before": lambda given: show(given.expired, _A_WHILE),
    "another host before": lambda given: show(given.of_another_host, _A_WHILE),
    "another CA before": lambda given: show(given.of_another_ca, _A_WHILE),
    "self-signed before": lambda given: show(given.self_signed, _A_WHILE),
}
"""By name: what becomes of a request over TLS, and of the connections after it."""

STREAM_FAULTS: Final = (
    "refuse before",
    "reset before",
    "hang up before",
    "503 before",
    "cut",
    "half-close",
    "trickle",
)
"""Those that make sense for an answer that never ends."""


class Plan:
    """Which request is broken how: one in so many, drawn from a seed. Safe to share between threads.

    :param share: of the requests, 0 to 1.
    :param faults: names of :data:`FAULTS`, and of :data:`TLS_FAULTS` where there is TLS.
    :param only: which requests may be broken.
    """

    def __init__(
        self,
        seed: int,
        share: float,
        faults: tuple[str, ...] = tuple(FAULTS),
        only: Callable[[Request], bool] = lambda request: True,
    ) -> None:
        self.broken: Counter[str] = Counter()
        self.passed = 0
        self._random = random.Random(seed)
        self._share = share
        self._faults = faults
        self._only = only
        self._lock = threading.Lock()

    def choose(self, request: Request) -> str | None:
        """The fault for a request; None: it passes."""
        with self._lock:
            if not self._only(request) or self._random.random() >= self._share:
                self.passed += 1
                return None
            fault = self._random.choice(self._faults)
            self.broken[fault] += 1
            return fault


class FaultProxy(BreakingServer):
    """A server in front of another, which breaks requests by a plan. A context manager.

    :param target: scheme, host and port of the other one, which speaks HTTP.
    :param certificates: for TLS with the clients.
    """

    def __init__(self, target: str, plan: Plan, certificates: Certificates | None = None) -> None:
        self.plan = plan
        self._target = target
        self._certificates = certificates
        super().__init__(self._act, tls=certificates.good if certificates else None)

    def _act(self, exchange: Exchange) -> bool:
        assert exchange.request is not None
        fault = self.plan.choose(exchange.request)
        try:
            return self._behaviour(fault)(exchange)
        except (OSError, http.client.HTTPException):
            # The server is away.
            return reset()(exchange)

    def _behaviour(self, fault: str | None) -> Behaviour:
        if fault is None:
            return passed_on(self._target)
        if fault in FAULTS:
            return FAULTS[fault](self._target)
        assert self._certificates is not None
        return TLS_FAULTS[fault](self._certificates)


class Door:
    """A TCP proxy that can be shut: then it refuses, and what was connected is reset.

    :param port: of the server on this machine that it leads to.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        """Let everybody through."""
        self._listener = socket.create_server((_HOST, self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)

    def shut(self) -> None:
        """Let nobody through, and throw out who is inside."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            for pair in self._pairs:
                for sock in pair:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Door:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shut()
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, work: Callable[..., None], *given: Any) -> None:
        thread = threading.Thread(target=work, args=given, name="door", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                inside, _ = listener.accept()
            except OSError:
                return
            try:
                outside = socket.create_connection((_HOST, self._target), timeout=5)
                outside.settimeout(None)
            except OSError:
                inside.close()
                continue
            pair = (inside, outside)
            with self._lock:
                self._pairs.add(pair)
            self._spawn(self._pump, pair)

    def _pump(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """Both ways, until one side ends."""
        inside, outside = pair
        back = threading.Thread(target=_copy, args=(outside, inside), name="door", daemon=True)
        back.start()
        _copy(inside, outside)
        back.join()
        with self._lock:
            self._pairs.discard(pair)
        inside.close()
        outside.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for sock in (source, sink):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _stream(
    exchange: Exchange,
    target: str,
    *,
    piece: int = 65536,
    pause: float = 0,
    limit: int | None = None,
    share: float = 1,
) -> bool:
    """Pass a request on and copy the answer.

    :param limit: end after so many bytes of a body without a length, or ``share`` of one with it.
    """
    request = exchange.request
    assert request is not None
    where = urlsplit(target)
    assert where.hostname is not None
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.connect()
    with contextlib.closing(connection), exchange.server.holding(connection.sock):
        headers = {k: v for k, v in request.headers.items() if k not in ("connection", "host")}
        connection.request(
            request.method, request.path, request.body, {**headers, "Connection": "close"}
        )
        response = connection.getresponse()
        length = response.getheader("Content-Length")
        left = int(int(length) * share) if length and limit else limit
        kept = {
            name: value
            for name, value in response.getheaders()
            if name.lower() not in ("connection", "transfer-encoding", "server", "date")
        }
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in {**kept, "Connection": "close"}.items()]
        try:
            exchange.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            while not exchange.stopping.is_set() and (left is None or left > 0):
                data = response.read1(min(piece, left or piece))
                if not data:
                    break
                exchange.sock.sendall(data)
                left = None if left is None else left - len(data)
                exchange.stopping.wait(pause)
        except OSError:
            # The client is gone, which is its right, or the server has been silent for long.
            return False
    return False
