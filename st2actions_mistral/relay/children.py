"""Which child belongs to which action: hints from the stream and from listings.

A hint spares a listing, nothing more: it is lost with the relay, and found again by it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

# Seconds for which it is remembered that an action waited. One that is deleted may still be with an
# executor, which makes its child within retry_deadline and read_timeout (90 s by default) once its turn
# has come: the rest is for the queue before it.
_REMEMBERED: Final = 3600.0

# Actions that are remembered so, beside those that wait: as many as docs/guarantees.md has waiting at
# once, in less than 2 MB.
_MOST: Final = 10_000


@dataclass(frozen=True)
class Left:
    """The child of an action that does not wait."""

    execution_id: str
    waited: bool
    """Whether the action was seen waiting before. Of others it cannot be told that they ever were this
    Mistral's."""


class Children:
    """Child by action. Safe to share between threads.

    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._of_action: dict[str, str] = {}
        self._first: set[str] = set()
        # Actions of which a second child was heard of, until a listing shows which one is the first.
        self._doubted: set[str] = set()
        self._stretch = 0
        self._follows = False
        self._all_heard = False
        # When it was seen waiting last, the longest ago first.
        self._waited: dict[str, float] = {}
        self._missed: dict[str, float] = {}
        self._left: dict[str, Left] = {}

    def note(self, action_execution_id: str, execution_id: str) -> bool:
        """Remember a child of an action.

        :return: whether it is the one that counts: the first that was heard of, until it is known which
            one was made first.
        """
        with self._lock:
            counts = self._of_action.setdefault(action_execution_id, execution_id) == execution_id
            if not counts:
                self._doubted.add(action_execution_id)
            return counts

    def listed(self, action_execution_id: str, execution_id: str) -> None:
        """A listing of all children of an action has shown this one as the first that was made."""
        with self._lock:
            self._of_action[action_execution_id] = execution_id
            self._first.add(action_execution_id)
            self._doubted.discard(action_execution_id)

    def follow(self, on: bool) -> None:
        """From now on each child is heard of as it is made, or no more is."""
        with self._lock:
            self._stretch += 1
            self._follows = on
            self._all_heard = False

    def stretch(self) -> int:
        """Names the time without a gap in which children are heard of; for :meth:`compared`."""
        with self._lock:
            return self._stretch

    def compared(self, stretch: int) -> None:
        """All children of all that waits were listed, in a comparison that began in this stretch.

        Whatever is made since then is heard of in its order, so that the first child that is heard of
        is the first that was made, until there is a gap again.
        """
        with self._lock:
            self._all_heard = self._all_heard or (self._follows and stretch == self._stretch)

    def is_first(self, action_execution_id: str, execution_id: str) -> bool:
        """Whether a child was listed as the first, or all have been heard of; and no other one has been
        heard of since then."""
        with self._lock:
            if self._of_action.get(action_execution_id) != execution_id:
                return False
            if action_execution_id in self._doubted:
                return False
            return self._all_heard or action_execution_id in self._first

    def forget(self, action_execution_id: str) -> None:
        """An action needs no more looking after."""
        with self._lock:
            self._of_action.pop(action_execution_id, None)
            self._first.discard(action_execution_id)
            self._doubted.discard(action_execution_id)
            self._missed.pop(action_execution_id, None)
            self._left.pop(action_execution_id, None)

    def keep(self, waiting: Collection[str], before: Mapping[str, str]) -> dict[str, Left]:
        """Take the children of actions that do not wait from the others.

        :param before: what was known before Mistral was asked what waits; a child heard of since
            then may belong to an action that was not in Mistral's answer yet.
        :return: by action, those that are to be looked at once more, until :meth:`forget`.
        """
        with self._lock:
            for action in (before.keys() & self._of_action.keys()) - set(waiting):
                # Heard of again while nothing could be done about it, it has waited all the same.
                left = self._left.get(action)
                waited = action in self._waited or (left is not None and left.waited)
                self._left[action] = Left(self._of_action.pop(action), waited)
                self._first.discard(action)
                self._doubted.discard(action)
                self._missed.pop(action, None)
            self._remember(waiting)
            for action in self._left.keys() & set(waiting):
                # It waits after all: Mistral's pages were read while they changed.
                self._of_action.setdefault(action, self._left.pop(action).execution_id)
            return dict(self._left)

    def missed_for(self, action_execution_id: str) -> float:
        """Seconds since an action's child was not found for the first time, which is now if it was."""
        with self._lock:
            now = self._clock()
            return now - self._missed.setdefault(action_execution_id, now)

    def found(self, action_execution_id: str) -> None:
        """A child that was missed is there after all."""
        with self._lock:
            self._missed.pop(action_execution_id, None)

    def snapshot(self) -> dict[str, str]:
        """Child by action, as of now."""
        with self._lock:
            return dict(self._of_action)

    def _remember(self, waiting: Collection[str]) -> None:
        now = self._clock()
        for action in waiting:
            self._waited.pop(action, None)
            self._waited[action] = now
        too_many = len(self._waited) - len(waiting) - _MOST
        for number, (action, seen) in enumerate(list(self._waited.items())):
            if number >= too_many and now - seen < _REMEMBERED:
                break
            del self._waited[action]
