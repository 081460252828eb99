"""Servers that fail in a chosen way, on real sockets. They take the place of StackStorm or Mistral.

>>> with BreakingServer(reset(), answer(200, {"id": "1"})) as server:
...     # The first request to server.url is read and then dropped, every later one is answered.

A script has one *behaviour* for each request, in the order in which the requests arrive on any
connection. The last behaviour also applies to all later requests. ``server.requests`` has the requests.

Behaviours: :func:`answer`, :func:`redirect`, :func:`reset`, :func:`hang_up`, :func:`stall`,
:func:`raw`, :func:`stall_in_body`, :func:`break_in_body`, :func:`endless_line`, :func:`garbage`, and
:func:`forward`, which passes a request on to a working server and may lose its answer. A behaviour in
:func:`before_request` acts on a connection before anything is read from it. :func:`refuse` and
:func:`show_certificate` also affect later connections.

URLs without a server: :func:`refusing` and :func:`not_accepting`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

_HOST = "127.0.0.1"
# Seconds. Bounds how long a broken test can hang; no other test waits this long.
_LONGEST = 30.0


@dataclass(frozen=True)
class Request:
    """One request as it was received."""

    method: str
    path: str
    """The path with the query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Exchange:
    """A request and its connection."""

    sock: socket.socket
    request: Request | None
    """None for a behaviour in :func:`before_request`."""
    server: BreakingServer

    @property
    def stopping(self) -> threading.Event:
        """Set when the server stops. A behaviour that waits must wait on this event."""
        return self.server.stopping

    def send(self, data: bytes) -> None:
        # The client may have disconnected.
        with contextlib.suppress(OSError):
            self.sock.sendall(data)


Behaviour = Callable[[Exchange], bool]
"""Handles a request. Returns True to keep the connection open for the next one."""


def answer(
    status: int = 200,
    body: Any = b"",
    headers: Mapping[str, str] | None = None,
    *,
    after: float = 0,
) -> Behaviour:
    """Answer properly.

    :param body: bytes as they are, anything else as JSON.
    :param after: seconds to wait first.
    """
    data = _encoded(body)

    def act(exchange: Exchange) -> bool:
        exchange.stopping.wait(after)
        exchange.send(_head(status, {"Content-Length": str(len(data)), **(headers or {})}) + data)
        return True

    return act


def redirect(location: str, status: int = 302) -> Behaviour:
    """Answer with a redirect."""
    return answer(status, b"", {"Location": location})


def reset() -> Behaviour:
    """Read the request, then reset the connection (TCP RST)."""

    def act(exchange: Exchange) -> bool:
        exchange.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    return act


def refuse(seconds: float) -> Behaviour:
    """Reset the connection, and refuse new ones for some seconds."""

    def act(exchange: Exchange) -> bool:
        exchange.server.refuse(seconds)
        return reset()(exchange)

    return act


def show_certificate(tls: ssl.SSLContext, seconds: float) -> Behaviour:
    """Reset the connection, and show another certificate to new ones for some seconds."""

    def act(exchange: Exchange) -> bool:
        exchange.server.show_certificate(tls, seconds)
        return reset()(exchange)

    return act


def hang_up() -> Behaviour:
    """Read the request, then close the connection without an answer (TCP FIN)."""
    return lambda exchange: False


def stall() -> Behaviour:
    """Read the request, and never answer."""
    return raw()


def raw(*pieces: bytes, then: Behaviour | None = None, every: float = 0) -> Behaviour:
    """Send these bytes, then nothing, or what ``then`` does.

    :param every: seconds between two pieces.
    """

    def act(exchange: Exchange) -> bool:
        for piece in pieces:
            exchange.send(piece)
            exchange.stopping.wait(every)
        if then is not None:
            return then(exchange)
        exchange.stopping.wait(_LONGEST)
        return False

    return act


def stall_in_body(status: int = 200, body: bytes = b'{"id":') -> Behaviour:
    """Send the start of an answer, then nothing."""
    return raw(_head(status, {"Content-Length": str(len(body) + 1000)}) + body)


def break_in_body(status: int = 200, body: bytes = b'{"id":') -> Behaviour:
    """Send the start of an answer, then close the connection."""
    return raw(_head(status, {"Content-Length": str(len(body) + 1000)}) + body, then=hang_up())


def endless_line(head: bytes = b"HTTP/1.1 200 ") -> Behaviour:
    """Send ``head``, then a line without an end until the client disconnects."""

    def act(exchange: Exchange) -> bool:
        exchange.sock.settimeout(_LONGEST)
        with contextlib.suppress(OSError):
            exchange.sock.sendall(head)
            while not exchange.stopping.is_set():
                exchange.sock.sendall(b"x" * 65536)
        return False

    return act


def garbage(data: bytes = b"\x00\xff SSH-2.0-not-http\r\n\r\n") -> Behaviour:
    """Send something that is not HTTP."""
    return raw(data, then=hang_up())


def forward(base_url: str, then: Behaviour | None = None) -> Behaviour:
    """Pass the request on to a working server, and return its answer or lose it.

    :param base_url: scheme, host and port; the path is the request's own.
    :param then: what to do instead of answering, after the other server has answered.
    """
    target = urlsplit(base_url)

    def act(exchange: Exchange) -> bool:
        request = exchange.request
        assert request is not None
        assert target.hostname is not None
        with contextlib.closing(
            http.client.HTTPConnection(target.hostname, target.port, timeout=_LONGEST)
        ) as connection:
            left_out = ("host", "connection", "accept-encoding")
            headers = {k: v for k, v in request.headers.items() if k not in left_out}
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            body = response.read()
        if then is not None:
            return then(exchange)
        kind = response.getheader("Content-Type") or "application/json"
        return answer(response.status, body, {"Content-Type": kind})(exchange)

    return act


@dataclass(frozen=True)
class _BeforeRequest:
    behaviour: Behaviour


def before_request(behaviour: Behaviour) -> _BeforeRequest:
    """Act as soon as a client connects, before TLS and before a request."""
    return _BeforeRequest(behaviour)


_Server = TypeVar("_Server", bound="BreakingServer")


class BreakingServer:
    """A listening socket with a script, see the module's docstring. Use it as a context manager.

    :param script: the behaviours for the requests. The last one also applies to all later requests.
    :param tls: the TLS context of the server; None for plain HTTP.
    :param port: 0 for a free port.
    """

    def __init__(
        self, *script: Behaviour | _BeforeRequest, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        assert script, "a script needs a behaviour"
        self.requests: list[Request] = []
        self.connections = 0
        """Number of connections so far."""
        self._script = list(script)
        self._tls = tls
        self._shown = (tls, 0.0)
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = socket.create_server((_HOST, port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{_HOST}:{self.port}"

    def calls(self) -> list[str]:
        """Return the requests so far as ``METHOD /path``, without queries."""
        return [f"{request.method} {urlsplit(request.path).path}" for request in self.requests]

    def open_connections(self) -> int:
        """Return how many connections this server has not closed yet."""
        with self._lock:
            return len(self._open)

    def refuse(self, seconds: float | None = None) -> None:
        """Refuse new connections, for some seconds or for ever. Open connections stay."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is None:
            return
        # close() alone does not wake accept().
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        if seconds is not None:
            self._spawn(self._listen_again, seconds)

    def show_certificate(self, tls: ssl.SSLContext, seconds: float = float("inf")) -> None:
        """Use another TLS context for new connections, for some seconds or for ever."""
        self._shown = (tls, time.monotonic() + seconds)

    def drop(self) -> None:
        """Close all open connections."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def holding(self, sock: socket.socket) -> Iterator[None]:
        """Close a connection to another server with our own, so that no behaviour waits on it."""
        with self._lock:
            self._open.add(sock)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(sock)

    def __enter__(self: _Server) -> _Server:
        self._spawn(self._accept, self._listener)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self.refuse()
        self.drop()
        for thread in self._threads:
            thread.join(_LONGEST)
            assert not thread.is_alive(), "a behaviour does not return"

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, name="breaking", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen_again(self, seconds: float) -> None:
        self.stopping.wait(seconds)
        with self._lock:
            if self.stopping.is_set():
                return
            self._listener = socket.create_server((_HOST, self.port), backlog=128)
        self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(sock)
                script = self._script
                early = script[0] if isinstance(script[0], _BeforeRequest) else None
                if early and len(script) > 1:
                    script.pop(0)
            self._spawn(self._serve, sock, early)

    def _serve(self, sock: socket.socket, early: _BeforeRequest | None) -> None:
        plain = sock
        try:
            if early is not None:
                early.behaviour(Exchange(sock, None, self))
                return
            shown, until = self._shown
            tls = shown if time.monotonic() < until else self._tls
            if tls is not None:
                sock.settimeout(_LONGEST)
                sock = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    # Wrapping took the descriptor of the plain socket.
                    self._open.add(sock)
                sock.do_handshake()
            with sock.makefile("rb") as reader:
                while (request := _read(reader)) is not None:
                    with self._lock:
                        self.requests.append(request)
                        behaviour = self._script[0]
                        if len(self._script) > 1:
                            self._script.pop(0)
                    assert not isinstance(behaviour, _BeforeRequest), "the connection was read already"
                    if not behaviour(Exchange(sock, request, self)):
                        return
        except OSError:
            # The client disconnected, or rejected the certificate.
            pass
        finally:
            sock.close()
            with self._lock:
                self._open -= {plain, sock}


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """Yield a URL that refuses connections. Its port stays reserved."""
    with socket.socket() as sock:
        sock.bind((_HOST, 0))
        yield f"http://{_HOST}:{sock.getsockname()[1]}"


@contextlib.contextmanager
def not_accepting() -> Iterator[str]:
    """Yield a URL where connecting times out: the queue of the listening socket is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((_HOST, 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://{_HOST}:{listener.getsockname()[1]}"


def _read(reader: Any) -> Request | None:
    line = reader.readline(65537).decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = http.client.parse_headers(reader)
    body = reader.read(int(headers.get("Content-Length", 0)))
    return Request(line[0], line[1], {k.lower(): v for k, v in headers.items()}, body)


def _encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    reason = http.client.responses.get(status, "Unknown")
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
