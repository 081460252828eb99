"""Decide when to look at a workflow that may end soon.

Mistral does not announce the end of a workflow, so the relay asks for its state: soon after the result
of its last running child, then less and less often. What takes longer is left to the resyncs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

# Seconds until each early look. Mistral 23 finishes a workflow 0 to 0.03 s after the last result
# (sandbox, 2 cores).
_EARLY: Final = (0.02, 0.05, 0.12)

# The step, and the pause, with which looks begin if nothing makes them urgent. Each further pause is
# longer by the factor: together with the early ones, 7 looks at most for each piece of news.
_UNHURRIED: Final = len(_EARLY)
_LATER: Final = 0.3
_FACTOR: Final = 3.3

# Early looks at one workflow in a row, and how many more it gets per second. This bounds the requests
# for a workflow that has many results and whose running children are not known.
_EARLY_LOOKS: Final = 20
_EARLY_LOOKS_PER_SECOND: Final = 2.0

# As many as docs/guarantees.md promises to handle at once. They take about 2 MB.
_CHILDREN: Final = 10_000


@dataclass
class _Expected:
    step: int
    """Of the pauses."""
    due: float


@dataclass
class _Budget:
    """A token bucket."""

    left: float
    at: float


class Pace:
    """When to look at each workflow, by the id of its parent. Safe to share between threads.

    :param longest: seconds; a workflow whose pause would be longer is left to the resyncs.
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
        self._expected: dict[str, _Expected] = {}
        self._budgets: dict[str, _Budget] = {}
        self._running: dict[str, set[str]] = {}
        self._children = 0

    def child_started(self, parent_id: str, child_id: str) -> None:
        """Note a running child: until it is completed, its workflow will not end, as a rule."""
        with self._lock:
            if self._children < self._most_children:
                running = self._running.setdefault(parent_id, set())
                self._children += child_id not in running
                running.add(child_id)
            expected = self._expected.get(parent_id)
            if expected and expected.step < _UNHURRIED:
                self._expect(parent_id, _UNHURRIED)

    def child_completed(self, parent_id: str, child_id: str) -> float:
        """Note that the result of a child has reached Mistral.

        :return: seconds until the next look at the workflow.
        """
        with self._lock:
            running = self._running.get(parent_id, set())
            self._children -= child_id in running
            running.discard(child_id)
            if not running:
                self._running.pop(parent_id, None)
            return self._expect(parent_id, _UNHURRIED if running else self._first_step(parent_id))

    def changed(self, parent_id: str) -> float:
        """Note an event of the parent.

        :return: seconds until the next look at the workflow.
        """
        with self._lock:
            expected = self._expected.get(parent_id)
            if expected and expected.step < _UNHURRIED and expected.due > self._clock():
                return expected.due - self._clock()
            return self._expect(parent_id, _UNHURRIED)

    def ends_soon(self, parent_id: str) -> float:
        """Note that the workflow, or its parent, was cancelled.

        :return: seconds until the next look at it.
        """
        with self._lock:
            return self._expect(parent_id, 0)

    def take(self, parent_id: str) -> float | None:
        """Begin a look, if it is due.

        :return: 0 to look now, the seconds until the next look otherwise; None if none is wanted.
        """
        with self._lock:
            expected = self._expected.get(parent_id)
            if expected is None:
                return None
            if expected.due > self._clock():
                return expected.due - self._clock()
            if expected.step < _UNHURRIED:
                self._budget(parent_id).left -= 1
            return 0

    def still_running(self, parent_id: str) -> float | None:
        """Note that a look found the workflow unfinished.

        :return: seconds until the next look; None if none is wanted before the next resync.
        """
        with self._lock:
            expected = self._expected.get(parent_id)
            if expected is None:
                return None
            if expected.due > self._clock():
                # Something has happened since the look began.
                return expected.due - self._clock()
            step = expected.step + 1
            if _pause(step) > self._longest:
                del self._expected[parent_id]
                return None
            return self._expect(parent_id, step)

    def stop(self, parent_id: str) -> None:
        """Plan no look at this workflow until there is news."""
        with self._lock:
            self._expected.pop(parent_id, None)

    def forget(self, parent_id: str) -> None:
        """Forget a workflow that has ended."""
        with self._lock:
            self._expected.pop(parent_id, None)
            self._budgets.pop(parent_id, None)
            self._children -= len(self._running.pop(parent_id, ()))

    def keep(self, parents: Collection[str]) -> None:
        """Forget the children of all other parents, and their early looks."""
        with self._lock:
            for known in (self._running.keys(), self._budgets.keys()):
                for parent_id in known - set(parents):
                    self._children -= len(self._running.pop(parent_id, ()))
                    self._budgets.pop(parent_id, None)

    def _expect(self, parent_id: str, step: int) -> float:
        pause = _pause(step)
        self._expected[parent_id] = _Expected(step, self._clock() + pause)
        return pause

    def _first_step(self, parent_id: str) -> int:
        left = self._budget(parent_id).left
        if left >= _EARLY_LOOKS / 2:
            return 0
        # In a chain of tasks the next child starts before the last early look is due, and makes it
        # unnecessary.
        return _UNHURRIED - 1 if left >= 1 else _UNHURRIED

    def _budget(self, parent_id: str) -> _Budget:
        now = self._clock()
        budget = self._budgets.setdefault(parent_id, _Budget(_EARLY_LOOKS, now))
        gained = (now - budget.at) * _EARLY_LOOKS_PER_SECOND
        budget.left, budget.at = min(_EARLY_LOOKS, budget.left + gained), now
        return budget


def _pause(step: int) -> float:
    return _EARLY[step] if step < _UNHURRIED else _LATER * _FACTOR ** (step - _UNHURRIED)
