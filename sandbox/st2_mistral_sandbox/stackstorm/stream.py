"""Publish events to the clients of the event stream."""

from __future__ import annotations

import fnmatch
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from st2_mistral_sandbox.stackstorm.json_format import to_json
from st2_mistral_sandbox.stackstorm.statuses import FINAL

DEFAULT_EVENTS = (
    "st2.announcement__*",
    "st2.execution__create",
    "st2.execution__update",
    "st2.execution__delete",
    "st2.liveaction__create",
    "st2.liveaction__update",
    "st2.liveaction__delete",
)


@dataclass(frozen=True)
class Subscription:
    """The events that a client requests. An empty tuple means all."""

    events: tuple[str, ...] = DEFAULT_EVENTS
    action_refs: tuple[str, ...] = ()
    execution_ids: tuple[str, ...] = ()
    end_event: str = ""
    end_execution_id: str = ""

    def matches(self, event: Event) -> bool:
        """Return whether the client requests an event."""
        return (
            any(fnmatch.fnmatch(event.name, pattern) for pattern in self.events)
            and (not self.action_refs or event.action_ref in self.action_refs)
            and (not self.execution_ids or event.execution_id in self.execution_ids)
        )

    def ends_at(self, event: Event) -> bool:
        """Return whether the stream ends after an event."""
        return (
            event.name == self.end_event
            and event.execution_id == self.end_execution_id
            and event.status in FINAL
        )


@dataclass(frozen=True)
class Event:
    """An event and its encoding."""

    name: str
    action_ref: str
    execution_id: str
    """Empty for a live action, as in StackStorm."""
    status: str
    encoded: bytes
    """The event in the format of server-sent events."""

    @classmethod
    def of(cls, name: str, body: dict[str, Any]) -> Event:
        """Make an event from its name and body."""
        if name.startswith("st2.execution__"):
            action_ref, execution_id = body["action"]["ref"], body["id"]
        elif name.startswith("st2.liveaction__"):
            action_ref, execution_id = body["action"], ""
        else:
            action_ref, execution_id = body["action_ref"], body["execution_id"]
        return cls(
            name,
            action_ref,
            execution_id,
            body.get("status", ""),
            f"event: {name}\ndata: {to_json(body)}\n\n".encode(),
        )


class Broadcaster:
    """Sends events to the listeners without waiting for any of them.

    StackStorm has no ``backlog``, but a stand-in must not fill the memory of a test process.

    :param heartbeat: seconds without an event after which an empty line is sent.
    :param backlog: unread events after which a listener is disconnected.
    """

    def __init__(self, *, heartbeat: float = 25.0, backlog: int = 10_000) -> None:
        self.heartbeat = heartbeat
        self._backlog = backlog
        self._lock = threading.Lock()
        self._listeners: dict[queue.Queue[Event | None], Subscription] = {}
        self._closed = False

    @property
    def listeners(self) -> int:
        """The number of open streams."""
        with self._lock:
            return len(self._listeners)

    def publish(self, name: str, body: Callable[[], dict[str, Any]]) -> None:
        """Send an event to every listener that requests it.

        :param body: makes the body; called only if there is a listener.
        """
        with self._lock:
            if not self._listeners:
                return
            event = Event.of(name, body())
            for listener, subscription in list(self._listeners.items()):
                if subscription.matches(event) or subscription.ends_at(event):
                    self._offer(listener, event)

    def _offer(self, listener: queue.Queue[Event | None], event: Event) -> None:
        if listener.qsize() >= self._backlog:
            self._drop(listener)
        else:
            listener.put_nowait(event)

    def _drop(self, listener: queue.Queue[Event | None]) -> None:
        self._listeners.pop(listener, None)
        listener.put_nowait(None)

    def listen(self, subscription: Subscription) -> Iterator[bytes]:
        """Subscribe a listener and return its chunks. No event after this call is missed."""
        listener: queue.Queue[Event | None] = queue.Queue()
        with self._lock:
            if not self._closed:
                self._listeners[listener] = subscription
            else:
                listener.put_nowait(None)
        return self._chunks(listener, subscription)

    def _chunks(
        self, listener: queue.Queue[Event | None], subscription: Subscription
    ) -> Iterator[bytes]:
        try:
            yield b"\n"
            while True:
                try:
                    event = listener.get(timeout=self.heartbeat)
                except queue.Empty:
                    yield b"\n"
                    continue
                if event is None:
                    return
                if subscription.matches(event):
                    yield event.encoded
                if subscription.ends_at(event):
                    return
        finally:
            with self._lock:
                self._listeners.pop(listener, None)

    def close(self) -> None:
        """Close all streams, also those that are opened later."""
        with self._lock:
            self._closed = True
            for listener in list(self._listeners):
                self._drop(listener)
