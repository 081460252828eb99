"""Decide when to poll a workflow for its end.

Mistral does not announce the end of a workflow, so the relay polls its state: soon after the result of
the last running child, then less and less often. Workflows that take longer are left to the resyncs.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

# Seconds before each early poll. Mistral 23 has usually finished a workflow when it answers the request
# with the last result (sandbox, 2 cores). In a chain of tasks the second poll is rarely needed.
_EARLY: Final = (0.012, 0.055, 0.12)

# Seconds before the first poll after the early ones, and the factor of each further pause: with the
# early ones, 7 polls at most after an event.
_LATER: Final = 0.3
_FACTOR: Final = 3.3

# Early polls of one workflow in a row, and how many it regains per second. This bounds the requests for
# a workflow with many results whose running children are not known.
_EARLY_POLLS: Final = 20
_EARLY_POLLS_PER_SECOND: Final = 2.0

# Seconds in which the result of a child usually reaches Mistral. That of a duplicate never does, for
# example.
_COMPLETED_IN: Final = 5.0

# As many as docs/concepts/guarantees.md promises to handle at once. They take about 2 MB.
_CHILDREN: Final = 10_000


@dataclass
class _Poll:
    """The next poll of a workflow."""

    step: int
    """The number of polls before, as an index of the pauses."""
    due: float


@dataclass
class _Budget:
    """The early polls that a workflow may still use: a token bucket."""

    left: float
    at: float


class PollSchedule:
    """The next poll of each workflow, by the id of its parent. Safe to share between threads.

    :param longest: seconds; a workflow whose next pause would be longer is left to the resyncs.
    :param clock: seconds, as ``time.monotonic``.
    :param most_children: running children that are remembered.
    """

    def __init__(
        self,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_children: int = _CHILDREN,
    ) -> None:
        self._longest = longest
        self._most_children = most_children
        self._clock = clock
        self._lock = threading.Lock()
        self._polls: dict[str, _Poll] = {}
        self._budgets: dict[str, _Budget] = {}
        # By parent: its children whose results are expected, each until this time.
        self._expected: dict[str, dict[str, float]] = {}
        self._children = 0

    def child_started(self, parent_id: str, child_id: str) -> None:
        """Record a running child. A workflow rarely ends before its children."""
        with self._lock:
            if self._children < self._most_children:
                expected = self._expected.setdefault(parent_id, {})
                self._children += child_id not in expected
                expected.setdefault(child_id, math.inf)
            poll = self._polls.get(parent_id)
            if poll and poll.step < len(_EARLY):
                self._plan(parent_id, len(_EARLY))

    def child_ended(self, parent_id: str, child_id: str) -> None:
        """Record that a child is final. Its result is expected to reach Mistral soon."""
        with self._lock:
            expected = self._expected.get(parent_id, {})
            if child_id in expected:
                expected[child_id] = min(expected[child_id], self._clock() + _COMPLETED_IN)

    def child_completed(self, parent_id: str, child_id: str) -> float:
        """Record that the result of a child has reached Mistral.

        :return: seconds until the next poll.
        """
        with self._lock:
            now = self._clock()
            expected = self._expected.get(parent_id, {})
            self._children -= expected.pop(child_id, None) is not None
            more = any(until > now for until in expected.values())
            return self._plan(parent_id, len(_EARLY) if more else self._first_step(parent_id))

    def forget_children(self) -> None:
        """Forget all running children: their ends may be missed."""
        with self._lock:
            self._expected.clear()
            self._children = 0

    def parent_changed(self, parent_id: str) -> float:
        """Record an event of the parent.

        :return: seconds until the next poll.
        """
        with self._lock:
            poll = self._polls.get(parent_id)
            if poll and poll.step < len(_EARLY) and poll.due > self._clock():
                return poll.due - self._clock()
            return self._plan(parent_id, len(_EARLY))

    def cancelled(self, parent_id: str) -> float:
        """Record that the workflow or its parent was cancelled.

        :return: seconds until the next poll.
        """
        with self._lock:
            return self._plan(parent_id, 0)

    def later(self, parent_id: str, seconds: float) -> float:
        """Plan the next poll after so many seconds, unless something happens before.

        :return: the seconds.
        """
        with self._lock:
            self._polls[parent_id] = _Poll(len(_EARLY), self._clock() + seconds)
            return seconds

    def take(self, parent_id: str) -> float | None:
        """Begin a poll if it is due.

        :return: 0 to poll now, otherwise the seconds until the next poll; None if none is planned.
        """
        with self._lock:
            poll = self._polls.get(parent_id)
            if poll is None:
                return None
            if poll.due > self._clock():
                return poll.due - self._clock()
            if poll.step < len(_EARLY):
                self._budget(parent_id).left -= 1
            return 0

    def still_running(self, parent_id: str) -> float | None:
        """Record that a poll found the workflow unfinished.

        :return: seconds until the next poll; None if none is planned before the next resync.
        """
        with self._lock:
            poll = self._polls.get(parent_id)
            if poll is None:
                return None
            if poll.due > self._clock():
                # Something has happened since this poll began.
                return poll.due - self._clock()
            if _pause(poll.step + 1) > self._longest:
                del self._polls[parent_id]
                return None
            return self._plan(parent_id, poll.step + 1)

    def stop(self, parent_id: str) -> None:
        """Plan no poll until something happens."""
        with self._lock:
            self._polls.pop(parent_id, None)

    def forget(self, parent_id: str) -> None:
        """Forget a workflow that has ended."""
        with self._lock:
            self._polls.pop(parent_id, None)
            self._budgets.pop(parent_id, None)
            self._children -= len(self._expected.pop(parent_id, ()))

    def keep(self, parents: Collection[str]) -> None:
        """Forget all other parents, and the children whose results are overdue."""
        with self._lock:
            now = self._clock()
            for parent_id in self._budgets.keys() - set(parents):
                del self._budgets[parent_id]
            for parent_id, children in list(self._expected.items()):
                kept = {id_: until for id_, until in children.items() if until > now}
                if kept and parent_id in parents:
                    self._expected[parent_id] = kept
                else:
                    del self._expected[parent_id]
            self._children = sum(map(len, self._expected.values()))

    def _plan(self, parent_id: str, step: int) -> float:
        pause = _pause(step)
        self._polls[parent_id] = _Poll(step, self._clock() + pause)
        return pause

    def _first_step(self, parent_id: str) -> int:
        left = self._budget(parent_id).left
        if left >= _EARLY_POLLS / 2:
            return 0
        # In a chain of tasks the next child usually starts before the last early poll is due, and makes
        # that poll unnecessary.
        return len(_EARLY) - 1 if left >= 1 else len(_EARLY)

    def _budget(self, parent_id: str) -> _Budget:
        now = self._clock()
        budget = self._budgets.setdefault(parent_id, _Budget(_EARLY_POLLS, now))
        regained = (now - budget.at) * _EARLY_POLLS_PER_SECOND
        budget.left, budget.at = min(_EARLY_POLLS, budget.left + regained), now
        return budget


def _pause(step: int) -> float:
    return _EARLY[step] if step < len(_EARLY) else _LATER * _FACTOR ** (step - len(_EARLY))
