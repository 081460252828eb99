"""Run Mistral's API, engine and executor in one process, on SQLite, without other services.

    python -m st2_mistral_sandbox.mistral_process --config-file FILE

It exits with code 0 on SIGTERM, on SIGINT and at the end of its standard input (see `parent_watch`). It
logs to standard error. This is the one module of the sandbox that imports Mistral.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any, Protocol

# Before anything else of Mistral: it chooses threads, not eventlet, for oslo.service.
import mistral.cmd  # noqa: F401  isort: skip
import jsonschema
from mistral import config
from mistral.api import service as api_service
from mistral.db.v2 import api as db_api
from mistral.engine import engine_server
from mistral.executors import executor_server
from mistral.expressions import yaql_expression
from mistral.rpc import base as rpc
from oslo_config import cfg
from oslo_log import log as logging
from oslo_messaging._drivers import impl_fake
from wsme import types as wsme_types

from st2_mistral_sandbox.parent_watch import exit_when_parent_dies

STOP_TIMEOUT = 2.0
"""Seconds for an orderly stop. Threads that still run actions are then abandoned, as in a crash."""

API_THREADS = 32
"""Requests handled at once. One relay needs more than the server's default, 10."""

API_BACKLOG = 128
"""Connections that may wait to be accepted; the default is 5."""

API_TIMEOUT = 120.0
"""Seconds that an accepted connection may wait for a thread before it is reset; the default is 10."""

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}

LOG = logging.getLogger(__name__)


class _Service(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


def main() -> None:
    """Run until a stop signal, then end the process."""
    # Blocked before a second thread starts, so in all threads: one of them waits for the signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    exit_when_parent_dies()
    services: list[_Service] = []
    stopped = threading.Thread(target=_wait_for_signal, args=(services,), name="signals", daemon=True)
    # Before the start, which takes seconds: a signal must stop it at once.
    stopped.start()

    config.parse_args(sys.argv[1:])
    logging.setup(cfg.CONF, "Mistral")
    parse_one_at_a_time()
    sort_api_attributes_by_name()
    check_schemas_once()
    wake_listeners()
    # Creates the tables from Mistral's models. SQLite does not support the ALTER TABLE of its
    # migrations.
    db_api.setup_db()
    rpc.get_transport()

    try:
        _start(services)
    except Exception:
        # Threads that were started would keep the process alive.
        LOG.exception("Mistral cannot start")
        sys.stderr.flush()
        os._exit(1)
    LOG.info("Mistral is ready at http://%s:%s/v2", cfg.CONF.api.host, cfg.CONF.api.port)
    stopped.join()


def parse_one_at_a_time() -> None:
    """Let one thread at a time parse a YAQL expression.

    Mistral 23.0.0 shares one stateful parser among its threads. Of 8,000 expressions that four threads
    evaluated, 6 failed and 3 got the value of another one.
    """
    parser = yaql_expression.get_yaql_engine_class().parser
    parse, lock = parser.parse, threading.Lock()

    def parse_alone(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return parse(*args, **kwargs)

    parser.parse = parse_alone


def check_schemas_once() -> None:
    """Check each of Mistral's JSON schemas once, instead of at every use.

    Mistral validates each part of a definition with ``jsonschema.validate``, which checks its schema.
    That took nearly all of the time: 0.5 to 4 processor seconds for each example.
    """
    validator = jsonschema.validators.validator_for({})
    check, checked = validator.check_schema, set[str]()

    def check_once(schema: Any, *args: Any, **kwargs: Any) -> None:
        text = json.dumps(schema, sort_keys=True, default=str)
        if text not in checked:
            check(schema, *args, **kwargs)
            checked.add(text)

    validator.check_schema = staticmethod(check_once)


def wake_listeners() -> None:
    """Let the in-memory transport pass a message on when it arrives.

    A listener of oslo.messaging's driver sleeps for 50 ms when it has found no message, and each
    action takes several messages.
    """
    arrived = threading.Condition()
    deliver = impl_fake.FakeExchange.deliver_message

    def deliver_and_wake(*args: Any, **kwargs: Any) -> None:
        deliver(*args, **kwargs)
        with arrived:
            arrived.notify_all()

    class Clock:
        """The functions of ``time`` that the driver uses."""

        time = staticmethod(time.time)

        @staticmethod
        def sleep(seconds: float) -> None:
            """Wait for a message. One that has just arrived is found after this time at the latest."""
            with arrived:
                arrived.wait(seconds)

    impl_fake.FakeExchange.deliver_message = deliver_and_wake
    impl_fake.time = Clock


def sort_api_attributes_by_name() -> None:
    """Keep WSME from reading the source of each of the API's 140 classes to order their attributes.

    It takes 0.6 of the 2.9 processor seconds of a start, and decides the order of keys in JSON only.
    """

    def sort(_: type, attributes: list[Any]) -> None:
        attributes.sort(key=lambda attribute: str(attribute.key))

    wsme_types.sort_attributes = sort


def _start(services: list[_Service]) -> None:
    """Start all services, and add each to the list when it can be stopped."""
    for make in (_engine, _executor, _api):
        # The API last: when it responds, the others run.
        service = make()
        if service is not None:
            service.start()
            services.append(service)


def _engine() -> Any:
    return engine_server.get_oslo_service(setup_profiler=False)


def _executor() -> Any:
    if cfg.CONF.executor.type != "remote":
        return None
    return executor_server.get_oslo_service(setup_profiler=False)


def _api() -> Any:
    api = api_service.WSGIService("mistral_api")
    # Mistral has no options for these.
    api.server.requests.min = API_THREADS
    api.server.request_queue_size = API_BACKLOG
    api.server.timeout = API_TIMEOUT
    return api


def _wait_for_signal(services: list[_Service]) -> None:
    signal.sigwait(STOP_SIGNALS)
    _stop(services)


def _stop(services: list[_Service]) -> None:
    """Stop the services, and end the process after at most STOP_TIMEOUT seconds.

    An exit of the interpreter would wait for Mistral's helper threads, which sleep through their
    intervals, and for threads that run actions.
    """

    def stop_in_order() -> None:
        for service in reversed(services):
            service.stop()

    stopping = threading.Thread(target=stop_in_order, name="stop", daemon=True)
    stopping.start()
    stopping.join(STOP_TIMEOUT)
    LOG.info("Mistral has stopped")
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
