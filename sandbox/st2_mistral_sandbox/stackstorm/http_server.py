"""Serve HTTP/1.1 on real sockets: persistent connections, chunked streams, hundreds of clients.

werkzeug's development server closes each connection after one response, StackStorm's does not. So this
is a handler of its own around werkzeug's Request and Response.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

LOG = logging.getLogger(__name__)
MAX_HEADER_LINE = 8192
"""Bytes, with name and line end. StackStorm's server answers 400 without a body to a longer one."""

# Seconds in which responses are completed when the server closes.
_LAST_RESPONSES = 1.0

Application = Callable[[Request], Response]


class HttpServer(ThreadingHTTPServer):
    """A server with one thread per connection. ``close`` ends all threads and sockets."""

    request_queue_size = 1024
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], application: Application) -> None:
        self.application = application
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._acceptor: threading.Thread | None = None
        super().__init__(address, _Handler)

    def start(self) -> None:
        """Accept connections in a thread."""
        self._acceptor = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="st2-acceptor", daemon=True
        )
        self._acceptor.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="st2-connection",
            daemon=True,
        )
        with self._lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a connection."""
        LOG.debug("A connection failed", exc_info=True)

    def server_bind(self) -> None:
        """Bind the socket without HTTPServer's reverse lookup, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def close(self, timeout: float = 5.0) -> None:
        """Close all connections, and wait up to ``timeout`` seconds for each thread.

        Responses that are being sent, such as the ends of streams, have a second to be sent whole.
        """
        if self._acceptor is not None:
            self.shutdown()
            self._acceptor.join(timeout)
        self.server_close()
        with self._lock:
            connections = dict(self._open)
        _shut(connections, socket.SHUT_RD)
        deadline = time.monotonic() + _LAST_RESPONSES
        for thread in connections.values():
            thread.join(max(0, deadline - time.monotonic()))
        _shut(connections, socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(timeout)


def _shut(connections: Iterable[socket.socket], how: int) -> None:
    for connection in connections:
        # Its thread may have closed it.
        with contextlib.suppress(OSError):
            connection.shutdown(how)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Buffered, so that head and body of a response are one packet.
    wbufsize = -1
    server: HttpServer

    def handle(self) -> None:
        # A client that disconnects is no error.
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        LOG.debug(format, *args)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Reject a request that is no HTTP."""
        self._reject(400 if code == 431 else code)

    def _reject(self, code: int) -> None:
        self.close_connection = True
        self.wfile.write(f"HTTP/1.0 {code} Bad Request\r\n".encode())
        self.wfile.write(b"Connection: close\r\nContent-length: 0\r\n\r\n")
        self.wfile.flush()

    def _respond(self) -> None:
        if any(len(name) + len(value) + 4 > MAX_HEADER_LINE for name, value in self.headers.items()):
            return self._reject(400)
        if self.headers.get("Transfer-Encoding"):
            return self._reject(411)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        response = self.server.application(Request(self._environment(body)))
        try:
            self._send(response)
        finally:
            response.close()
        return None

    # The base class calls methods of these names, hence N815.
    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_HEAD = _respond  # noqa: N815

    def _environment(self, body: bytes) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        environment: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": self.server.server_name,
            "SERVER_PORT": str(self.server.server_port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        for name, value in self.headers.items():
            key = f"HTTP_{name.upper().replace('-', '_')}"
            if key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
                environment[key] = value
        return environment

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status_code)
        streamed = response.is_streamed
        body = b"" if streamed else response.get_data()
        for name, value in response.headers.items():
            if name != "Content-Length":
                self.send_header(name, value)
        self.send_header("Date", self.date_time_string())
        if streamed:
            self.send_header("Transfer-Encoding", "chunked")
        elif response.status_code != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if streamed:
            self._send_chunks(response)
        elif self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _send_chunks(self, response: Response) -> None:
        for chunk in response.iter_encoded():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
