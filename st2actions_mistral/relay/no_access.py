"""Report the projects in which the relay may not act."""

from __future__ import annotations

import logging
import threading
from typing import Final

from st2actions_mistral.model.project import NoAccess
from st2actions_mistral.workqueue import Failure

LOG: Final = logging.getLogger(__name__)

REJECTED: Final = frozenset({401, 403})
"""Statuses with which keystone or Mistral's policy rejects the relay's token for one project."""

# Projects that are remembered. Their ids come from Mistral, so their number is bounded.
_LIMIT: Final = 1000


class ClosedProjects:
    """Logs each project in which the relay may not act, once. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reported: dict[str, Failure] = {}
        self._lately: set[str] = set()

    def report(self, found: NoAccess, what: str) -> None:
        """Count a record that is not written to, and log the first one of each project.

        :param what: the record, such as "action execution 123".
        """
        with self._lock:
            before = self._reported.get(found.project)
            if before is None and len(self._reported) >= _LIMIT:
                return
            reason = f"{what}: {found.text}"
            times = before.times + 1 if before else 1
            self._reported[found.project] = Failure(times, reason, due=0)
            self._lately.add(found.project)
        if before is None:
            LOG.warning(
                "Nothing is completed, rescheduled or cancelled in %s. First seen at %s",
                found.project,
                reason,
            )

    def begin_resync(self) -> None:
        """Forget the projects that were not reported since the previous call."""
        with self._lock:
            opened = self._reported.keys() - self._lately
            for project in opened:
                del self._reported[project]
            self._lately.clear()
        for project in opened:
            LOG.info("Nothing waits any more for access to %s.", project)

    def count(self) -> int:
        """Return the number of projects in which the relay may not act."""
        with self._lock:
            return len(self._reported)

    def failing(self) -> dict[str, Failure]:
        """Return how often each project was refused, and why the last time."""
        with self._lock:
            return dict(self._reported)
