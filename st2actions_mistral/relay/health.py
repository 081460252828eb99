"""Answer ``/metrics``, ``/health`` and ``/failing`` on a loopback port."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from st2actions_mistral.errors import ConfigError
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.workqueue import Failure

LOG: Final = logging.getLogger(__name__)

_HOST: Final = "127.0.0.1"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        LOG.debug(format, *args)


class HealthServer:
    """An HTTP server in a thread of its own.

    ``/health`` answers 200 while one of the two systems responds, otherwise 503. Its body is JSON:
    ``{"stackstorm": true, "mistral": true}``. ``/failing`` shows the actions and parents that could not
    be reconciled, by id, and the projects in which the relay writes nothing:
    ``{"times": 3, "error": "…"}``.

    :param port: 0 takes a free one.
    :param contacts: see :meth:`Metrics.observe`.
    :param stale: seconds after which a system that has not responded counts as unreachable.
    :param failing: returns what ``/failing`` shows.
    :raises ConfigError: the port is in use.
    """

    def __init__(
        self,
        port: int,
        metrics: Metrics,
        contacts: Mapping[str, Callable[[], float]],
        stale: float,
        failing: Callable[[], Mapping[str, Failure]],
    ) -> None:
        self._failing = failing
        self._contacts = contacts
        self._stale = stale
        self._metrics_app = make_wsgi_app(metrics.registry)
        try:
            self._server = make_server(
                _HOST, port, self._app, server_class=_Server, handler_class=_Handler
            )
        except OSError as error:
            raise ConfigError(
                f"[st2_relay] health_port: cannot listen on port {port} ({error.strerror})."
            ) from error
        self.url = f"http://{_HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            body: Iterable[bytes] = self._metrics_app(environ, start_response)
            return body
        if path == "/failing":
            failing = {
                id_: {"times": failure.times, "error": failure.reason}
                for id_, failure in self._failing().items()
            }
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(failing).encode() + b"\n"]
        if path != "/health":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/health, /metrics or /failing\n"]
        now = time.time()
        reachable = {system: now - seen() < self._stale for system, seen in self._contacts.items()}
        status = "200 OK" if any(reachable.values()) else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(reachable).encode() + b"\n"]
