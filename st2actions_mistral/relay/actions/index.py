"""Remember which execution belongs to which action, from the event stream and from listings.

The index is lost with the relay. The next resync restores the children that exist, but not that a child
vanished, or that a deleted action was pending.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.model.result import is_omitted

# Seconds for which the index remembers that an action was pending. An executor may still have a deleted
# one: it creates the execution within retry_deadline and read_timeout (90 s by default) once its turn
# has come. The rest is for the queue before it.
_REMEMBERED: Final = 3600.0

# Actions remembered in this way, besides those that are pending now: as many as docs/operate/sizing.md
# has pending at once, in less than 2 MB.
_LIMIT: Final = 10_000

# Whole results that wait for a worker. StackStorm's may have 16 MB; the others are fetched again.
_RESULTS: Final = 16

LARGE_RESULT: Final = 1024 * 1024
"""Bytes. A larger result is fetched when it is needed, and one at a time: with one of some 15 MB of
small objects the relay grows to 370 MiB (docs/operate/sizing.md)."""


@dataclass(frozen=True)
class Gone:
    """The child of an action that is not pending any more."""

    execution_id: str
    was_pending: bool
    """True if the index saw the action pending. Any other action may belong to another Mistral."""


class Index:
    """The child execution of each action. Safe to share between threads.

    :param limit: actions that are remembered after they were pending.
    :param results: whole results that are kept until a worker takes them.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        *,
        limit: int = _LIMIT,
        results: int = _RESULTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._most_results = results
        self._clock = clock
        self._lock = threading.Lock()
        self._of_action: dict[str, str] = {}
        self._first: set[str] = set()
        # Actions of which a second child is known, until a listing shows which one is the first.
        self._doubted: set[str] = set()
        self._epoch = 0
        self._streaming = False
        self._complete = False
        # The time at which each action was seen pending last, the oldest first.
        self._pending: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self._gone: dict[str, Gone] = {}
        self._results: dict[str, Mapping[str, Any]] = {}

    def add(self, action_execution_id: str, execution_id: str) -> bool:
        """Remember a child of an action.

        :return: True if it is the one that counts: the first one that was added, until a listing shows
            which one was created first.
        """
        with self._lock:
            counts = self._of_action.setdefault(action_execution_id, execution_id) == execution_id
            if not counts:
                self._doubted.add(action_execution_id)
            return counts

    def set_first(self, action_execution_id: str, execution_id: str) -> None:
        """Remember a child that a listing of all children has shown to be the first one."""
        with self._lock:
            self._of_action[action_execution_id] = execution_id
            self._first.add(action_execution_id)
            self._doubted.discard(action_execution_id)

    def set_streaming(self, streaming: bool) -> None:
        """Begin a new epoch of the event stream, or end the current one.

        :param streaming: True if every child is added from now on when it is created.
        """
        with self._lock:
            self._epoch += 1
            self._streaming = streaming
            self._complete = False

    def epoch(self) -> int:
        """Return the current epoch of the event stream, for :meth:`mark_listed`."""
        with self._lock:
            return self._epoch

    def mark_listed(self, epoch: int) -> None:
        """Note that a full listing, which began in ``epoch``, is complete.

        From then on creation events arrive in order, so the first child that is added for an action is
        its oldest one, until the stream is interrupted.
        """
        with self._lock:
            self._complete = self._complete or (self._streaming and epoch == self._epoch)

    def is_first(self, action_execution_id: str, execution_id: str) -> bool:
        """Tell whether a child is certainly the first one of its action."""
        with self._lock:
            if self._of_action.get(action_execution_id) != execution_id:
                return False
            if action_execution_id in self._doubted:
                return False
            return self._complete or action_execution_id in self._first

    def child_of(self, action_execution_id: str) -> str | None:
        """Return the child of an action, also of one that is not pending any more."""
        with self._lock:
            gone = self._gone.get(action_execution_id)
            return self._of_action.get(action_execution_id) or (gone.execution_id if gone else None)

    def was_pending(self, action_execution_id: str) -> bool:
        """Tell whether an action was seen pending lately."""
        with self._lock:
            gone = self._gone.get(action_execution_id)
            return action_execution_id in self._pending or (gone is not None and gone.was_pending)

    def put_result(self, action_execution_id: str, child: Mapping[str, Any]) -> None:
        """Keep a whole child execution for whoever works on its action, if there is room."""
        if is_omitted(child) or (child.get("result_size") or 0) > LARGE_RESULT:
            return
        with self._lock:
            if len(self._results) < self._most_results or action_execution_id in self._results:
                self._results[action_execution_id] = child

    def take_result(self, action_execution_id: str) -> Mapping[str, Any] | None:
        """Return the whole child execution that was kept, once."""
        with self._lock:
            return self._results.pop(action_execution_id, None)

    def forget(self, action_execution_id: str) -> None:
        """Drop an action that needs no more work."""
        with self._lock:
            self._of_action.pop(action_execution_id, None)
            self._first.discard(action_execution_id)
            self._doubted.discard(action_execution_id)
            self._missing.pop(action_execution_id, None)
            self._gone.pop(action_execution_id, None)
            self._results.pop(action_execution_id, None)

    def retain(self, pending: Collection[str], before: Mapping[str, str]) -> dict[str, Gone]:
        """Separate the children of pending actions from the others.

        :param before: the :meth:`snapshot` from before Mistral was asked what is pending. A child that
            was added since then may belong to an action that Mistral's answer does not have yet.
        :return: by action, the children to look at once more, until :meth:`forget`.
        """
        with self._lock:
            for action in (before.keys() & self._of_action.keys()) - set(pending):
                # An action that is added again before anything could be done was pending all the same.
                gone = self._gone.get(action)
                was_pending = action in self._pending or (gone is not None and gone.was_pending)
                self._gone[action] = Gone(self._of_action.pop(action), was_pending)
                self._first.discard(action)
                self._doubted.discard(action)
                self._missing.pop(action, None)
            self._remember(pending)
            for action in self._gone.keys() & set(pending):
                # Mistral's pages were read while they changed: the action is pending after all.
                self._of_action.setdefault(action, self._gone.pop(action).execution_id)
            return dict(self._gone)

    def missing_for(self, action_execution_id: str) -> float:
        """Return the seconds since an action's child was first found missing, 0 for the first time."""
        with self._lock:
            now = self._clock()
            return now - self._missing.setdefault(action_execution_id, now)

    def mark_found(self, action_execution_id: str) -> None:
        """Note that a child that was missing exists."""
        with self._lock:
            self._missing.pop(action_execution_id, None)

    def snapshot(self) -> dict[str, str]:
        """Return the child of each action, as of now."""
        with self._lock:
            return dict(self._of_action)

    def _remember(self, pending: Collection[str]) -> None:
        now = self._clock()
        for action in pending:
            self._pending.pop(action, None)
            self._pending[action] = now
        too_many = len(self._pending) - len(pending) - self._limit
        for number, (action, seen) in enumerate(list(self._pending.items())):
            if number >= too_many and now - seen < _REMEMBERED:
                break
            del self._pending[action]
