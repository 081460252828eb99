"""The event stream: who listens, what each of them wants, and what happens to the slow ones."""

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
    """What a listener asked for; an empty tuple means everything."""

    events: tuple[str, ...] = DEFAULT_EVENTS
    action_refs: tuple[str, ...] = ()
    execution_ids: tuple[str, ...] = ()
    end_event: str = ""
    end_execution_id: str = ""

    def matches(self, event: Event) -> bool:
        return (
            any(fnmatch.fnmatch(event.name, pattern) for pattern in self.events)
            and (not self.action_refs or event.action_ref in self.action_refs)
            and (not self.execution_ids or event.execution_id in self.execution_ids)
        )

    def ends_at(self, event: Event) -> bool:
        return (
            event.name == self.end_event
            and event.execution_id == self.end_execution_id
            and event.status in FINAL
        )


@dataclass(frozen=True)
class Event:
    name: str
    action_ref: str
    execution_id: str
    """Empty for a live action, which StackStorm does not tie to an execution here."""
    status: str
    frame: bytes

    @classmethod
    def of(cls, name: str, body: dict[str, Any]) -> Event:
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
    """Hands events to listeners without ever waiting for one.

    Who does not read in time fills his queue and is disconnected; StackStorm itself has no such
    limit, but a stand-in in a test process must not eat its memory.
    """

    def __init__(self, *, heartbeat: float = 25.0, backlog: int = 10_000) -> None:
        self.heartbeat = heartbeat
        self._backlog = backlog
        self._lock = threading.Lock()
        self._listeners: dict[queue.Queue[Event | None], Subscription] = {}
        self._closed = False

    @property
    def listeners(self) -> int:
        with self._lock:
            return len(self._listeners)

    def publish(self, name: str, body: Callable[[], dict[str, Any]]) -> None:
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
        """Chunks for one listener, who is subscribed when this returns, not at the first chunk."""
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
                    yield event.frame
                if subscription.ends_at(event):
                    return
        finally:
            with self._lock:
                self._listeners.pop(listener, None)

    def close(self) -> None:
        """End every stream, and every one that is opened from now on."""
        with self._lock:
            self._closed = True
            for listener in list(self._listeners):
                self._drop(listener)
