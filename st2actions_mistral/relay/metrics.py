"""What the relay has done, in numbers, and whether it is well: for Prometheus and for a balancer."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, make_wsgi_app

from st2actions_mistral.errors import ConfigError
from st2actions_mistral.relay import backoff, workqueue

LOG: Final = logging.getLogger(__name__)

_HOST: Final = "127.0.0.1"


class Metrics:
    """Counters and gauges of one relay. Safe to share between threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, words: str) -> Counter:
            return Counter(f"st2_relay_{name}", words, registry=self.registry)

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(f"st2_relay_{name}", words, registry=self.registry)

        self.delivered = counter("delivered", "Results given to Mistral.")
        self.retried = counter("retried", "What could not be settled and is tried again.")
        self.duplicates = counter("duplicates", "Children that were one too many.")
        self.adopted = counter("adopted", "Actions that an executor lost, scheduled by the relay.")
        self.lost = counter("lost", "Actions closed without a result.")
        self.cancelled = counter("cancelled", "Children cancelled whose action was given up.")
        self.finished = counter("finished", "Executions of workflows that got their end.")
        self.stopped = counter("stopped", "Workflows cancelled that nobody waits for.")
        self.waiting = gauge("waiting", "Actions that wait, at the last comparison.")
        self.parents = gauge("parents", "Executions that wait for a workflow, at the last comparison.")
        self._lag = gauge("lag_seconds", "Age of the oldest result that waits to be delivered.")
        self._contact = Gauge(
            "st2_relay_last_contact_timestamp_seconds",
            "When a system answered last; 0: never.",
            ["system"],
            registry=self.registry,
        )

    def watch(self, lag: Callable[[], float], contacts: Mapping[str, Callable[[], float]]) -> None:
        """Ask these whenever somebody asks.

        :param lag: seconds.
        :param contacts: by name of the system, the time of its last answer, 0 for never.
        """
        self._lag.set_function(lag)
        for system, contact in contacts.items():
            self._contact.labels(system).set_function(contact)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        LOG.debug(format, *args)


class Health:
    """``/metrics``, ``/health`` and ``/failing`` on a loopback port.

    ``/health`` answers 200 while one of the two systems is in reach, else 503; its body is JSON:
    ``{"stackstorm": true, "mistral": true}``. ``/failing`` tells of the actions and parents that could
    not be settled, by id: ``{"times": 3, "error": "…"}``, and, by "project …", of the projects that the
    relay does not write to.

    :param port: 0 takes a free one.
    :param contacts: see :meth:`Metrics.watch`.
    :param stale: seconds after which a system that has not answered counts as out of reach.
    :raises ConfigError: the port is taken.
    """

    def __init__(
        self,
        port: int,
        metrics: Metrics,
        contacts: Mapping[str, Callable[[], float]],
        stale: float,
        failing: Callable[[], Mapping[str, backoff.Failure | workqueue.Failure]],
    ) -> None:
        self._failing = failing
        self._contacts = contacts
        self._stale = stale
        self._metrics_app = make_wsgi_app(metrics.registry)
        try:
            self._server = make_server(
                _HOST, port, self._app, server_class=_Server, handler_class=_Quiet
            )
        except OSError as error:
            raise ConfigError(
                f"[st2_relay] health_port: {port} cannot be had ({error.strerror})."
            ) from error
        self.url = f"http://{_HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            body: Iterable[bytes] = self._metrics_app(environ, start_response)
            return body
        if path == "/failing":
            told = {
                item: {"times": failure.times, "error": failure.reason}
                for item, failure in self._failing().items()
            }
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(told).encode() + b"\n"]
        if path != "/health":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/health, /metrics or /failing\n"]
        now = time.time()
        near = {system: now - seen() < self._stale for system, seen in self._contacts.items()}
        status = "200 OK" if any(near.values()) else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(near).encode() + b"\n"]
