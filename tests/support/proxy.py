"""Proxies that cause faults between a client and a server.

:class:`FaultProxy` speaks HTTP. A fault names the point at which it breaks a request: before or after
the server has acted on it. The broken requests are drawn from a seed, so that a run can be repeated.
:class:`TcpProxy` passes bytes on, and can be blocked.
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
    show_certificate,
    stall,
    stall_in_body,
)
from support.certificates import Certificates

_HOST: Final = "127.0.0.1"
# Seconds between two pieces of a slow answer.
_TRICKLE: Final = 0.002
# Bytes of an event stream that pass before it is cut: some events, and a part of one.
_CUT_AFTER: Final = 5000


def pass_on(target: str) -> Behaviour:
    """Pass a request on, and stream the answer back."""
    return lambda exchange: _stream(exchange, target)


class Switch:
    """A behaviour that passes requests on, until a test sets another one."""

    def __init__(self, target: str) -> None:
        self.passes = forward(target)
        self.behaviour: Behaviour = self.passes

    def __call__(self, exchange: Exchange) -> bool:
        return self.behaviour(exchange)


def trickle(target: str) -> Behaviour:
    """Pass a request on, and send the answer slowly."""

    def act(exchange: Exchange) -> bool:
        return _stream(exchange, target, piece=16, pause=_TRICKLE)

    return act


def cut(target: str) -> Behaviour:
    """Send the start of the answer, and close the connection in the middle of an event or a body."""
    return lambda exchange: _stream(exchange, target, limit=_CUT_AFTER, share=0.5)


def half_close(target: str) -> Behaviour:
    """Send half of the answer, and close only the server's side of the connection."""

    def act(exchange: Exchange) -> bool:
        _stream(exchange, target, limit=_CUT_AFTER, share=0.5)
        with contextlib.suppress(OSError):
            exchange.sock.shutdown(socket.SHUT_WR)
        exchange.stopping.wait(0.5)
        return False

    return act


def _after(then: Behaviour) -> Callable[[FaultProxy], Behaviour]:
    """Let the server act, and lose its answer by another behaviour."""
    return lambda proxy: forward(proxy.target, then)


def _before(instead: Behaviour) -> Callable[[FaultProxy], Behaviour]:
    """Keep the request from the server."""
    return lambda proxy: instead


def _certificate(name: str) -> Callable[[FaultProxy], Behaviour]:
    """Show one of the invalid certificates for a while."""

    def act(proxy: FaultProxy) -> Behaviour:
        assert proxy.certificates is not None
        return show_certificate(getattr(proxy.certificates, name), proxy.lasting)

    return act


_UNAVAILABLE: Final = {"faultstring": "not now"}

FAULTS: Final[Mapping[str, Callable[[FaultProxy], Behaviour]]] = {
    "refuse before": lambda proxy: refuse(proxy.lasting),
    "reset before": _before(reset()),
    "hang up before": _before(hang_up()),
    "silence before": _before(stall()),
    "reset after": _after(reset()),
    "hang up after": _after(hang_up()),
    "silence after": _after(stall()),
    "stall in body": _after(stall_in_body()),
    "break in body": _after(break_in_body()),
    "cut": lambda proxy: cut(proxy.target),
    "half-close": lambda proxy: half_close(proxy.target),
    "trickle": lambda proxy: trickle(proxy.target),
    **{f"{status} before": _before(answer(status, _UNAVAILABLE)) for status in (500, 502, 503, 504)},
    **{f"{status} after": _after(answer(status, _UNAVAILABLE)) for status in (500, 502, 503, 504)},
    "garbage": _after(raw(b"\x00\xff no HTTP\r\n\r\n", then=hang_up())),
}
"""Faults by name; each makes a behaviour for a proxy."""

TLS_FAULTS: Final[Mapping[str, Callable[[FaultProxy], Behaviour]]] = {
    "expired before": _certificate("expired"),
    "another host before": _certificate("of_another_host"),
    "another CA before": _certificate("of_another_ca"),
    "self-signed before": _certificate("self_signed"),
}
"""Faults of a request over TLS, and of the connections after it, by name."""

STREAM_FAULTS: Final = (
    "refuse before",
    "reset before",
    "hang up before",
    "503 before",
    "cut",
    "half-close",
    "trickle",
)
"""Faults that apply to an event stream."""


class Plan:
    """Draws from a seed which requests are broken, and how. Threads may share it.

    :param share: share of the requests that are broken, 0 to 1.
    :param faults: names of :data:`FAULTS`, and of :data:`TLS_FAULTS` with TLS.
    :param only: returns True for a request that may be broken.
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
        """Return the fault for a request, or None to pass it on."""
        with self._lock:
            if not self._only(request) or self._random.random() >= self._share:
                self.passed += 1
                return None
            fault = self._random.choice(self._faults)
            self.broken[fault] += 1
            return fault


class FaultProxy(BreakingServer):
    """A server in front of another one that breaks requests by a plan. Use it as a context manager.

    :param target: scheme, host and port of the other server, which speaks plain HTTP.
    :param certificates: for TLS with the clients.
    :param lasting: seconds that a fault of connections lasts. The default is two or three attempts.
    """

    def __init__(
        self,
        target: str,
        plan: Plan,
        certificates: Certificates | None = None,
        *,
        lasting: float = 0.5,
    ) -> None:
        self.plan = plan
        self.target = target
        self.certificates = certificates
        self.lasting = lasting
        super().__init__(self._act, tls=certificates.good if certificates else None)

    def _act(self, exchange: Exchange) -> bool:
        assert exchange.request is not None
        fault = self.plan.choose(exchange.request)
        try:
            if fault is None:
                return pass_on(self.target)(exchange)
            return {**FAULTS, **TLS_FAULTS}[fault](self)(exchange)
        except (OSError, http.client.HTTPException):
            # The server does not respond.
            return reset()(exchange)


class TcpProxy:
    """A TCP proxy that can be blocked: then it refuses connections, and closes the open ones.

    :param port: port of the server, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.unblock()

    def unblock(self) -> None:
        """Pass connections on."""
        self._listener = socket.create_server((_HOST, self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)

    def block(self) -> None:
        """Refuse new connections, and close the open ones."""
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

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.block()
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, work: Callable[..., None], *given: Any) -> None:
        thread = threading.Thread(target=work, args=given, name="tcp-proxy", daemon=True)
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
        """Copy both ways until one side closes."""
        inside, outside = pair
        back = threading.Thread(target=_copy, args=(outside, inside), name="tcp-proxy", daemon=True)
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

    :param limit: stop after so many bytes of a body without a length.
    :param share: stop after this share of a body with a length, if there is a limit.
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
            # The client disconnected, or the server timed out.
            return False
    return False
