"""Follow StackStorm's event stream, and pass each event on to the controllers.

An event is a hint: it says which action or parent to look at. Nothing is lost for good if one is
missed, because a resync follows each gap.

To add a second source of events, write a class with the methods of :class:`EventSource`. It calls every
:class:`EventListener` for each execution that it learns of, as StackStorm shows it: with ``id``,
``status``, ``context`` and ``runner``, and with the whole ``result`` or none. After a gap it sets the
event ``resync``. Add it to ``_sources`` in ``daemon.Relay``. Exactly one source may call
``on_streaming``: the one that passes on every creation, in order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from st2actions_mistral.client.auth import sentence
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.stream import EventStream
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.workqueue import Backoff

LOG: Final = logging.getLogger(__name__)

# Pauses before the stream is opened again. A stream that ends at once counts as a failure too: nginx in
# front of a dead stream service answers 200 and nothing.
_RECONNECT: Final = Backoff(first=0.5, longest=30.0)


class EventListener(Protocol):
    """Handles events. Each controller is one."""

    def on_execution_event(self, execution: Mapping[str, Any]) -> None:
        """Handle that an execution was created or has changed."""

    def on_streaming(self, streaming: bool) -> None:
        """Handle that all events arrive from now on, or that some may be lost."""


class EventSource(Protocol):
    """Learns of events, in a thread of its own."""

    def run(self) -> None:
        """Pass on events until :meth:`close`. Must not raise."""

    def close(self) -> None:
        """Make :meth:`run` return soon. Safe to call from another thread."""

    def last_contact(self) -> float:
        """Return when the source heard of StackStorm last, as ``time.time``; 0 for never."""


class StreamSource:
    """Follows StackStorm's event stream, and opens it again whenever it ends.

    :param resync: set whenever the stream is open: what was missed before must be found.
    :param reconnect: pauses before the stream is opened again.
    """

    def __init__(
        self,
        settings: St2Settings,
        listeners: Sequence[EventListener],
        *,
        resync: threading.Event,
        reconnect: Backoff = _RECONNECT,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._resync = resync
        self._reconnect = reconnect
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._stream: EventStream | None = None

    def run(self) -> None:
        """Follow the stream until :meth:`close`."""
        failures = 0
        while not self._closed.is_set():
            begun = time.monotonic()
            try:
                self._follow()
                reason = "The event stream ended."
            except St2MistralError as error:
                reason = sentence(error.log_text())
            except Exception as error:
                # Nothing would start this thread again.
                LOG.exception("The event stream failed.")
                reason = f"{type(error).__name__} in the event stream."
            if self._closed.is_set():
                return
            lasted = time.monotonic() - begun
            failures = 1 if lasted > self._reconnect.longest else failures + 1
            pause = self._reconnect.pause(failures)
            LOG.warning("%s Connecting again in %.1f s.", reason, pause)
            self._closed.wait(pause)

    def close(self) -> None:
        """End :meth:`run`, also while it waits for an event."""
        self._closed.set()
        with self._lock:
            if self._stream is not None:
                self._stream.interrupt()

    def last_contact(self) -> float:
        """Return when bytes came last, as ``time.time``; 0 while the stream is not open."""
        with self._lock:
            return self._stream.last_contact if self._stream else 0.0

    def _follow(self) -> None:
        with EventStream(self._settings) as stream:
            with self._lock:
                self._stream = stream
            try:
                if self._closed.is_set():
                    return
                for event in stream.events():
                    if event is None:
                        LOG.info("Following %s.", self._settings.stream())
                        self._set_streaming(True)
                        # From now on nothing is missed: find what was.
                        self._resync.set()
                    else:
                        self._pass_on(event.execution)
            finally:
                self._set_streaming(False)
                with self._lock:
                    self._stream = None

    def _pass_on(self, execution: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            try:
                listener.on_execution_event(execution)
            except Exception:
                # One event must not end the stream, and with it all later events.
                LOG.exception("An event of StackStorm execution %s was ignored.", execution["id"])
                self._resync.set()

    def _set_streaming(self, streaming: bool) -> None:
        for listener in self._listeners:
            listener.on_streaming(streaming)
