"""Report the projects in which the relay writes nothing, because its token is for another one."""

from __future__ import annotations

import logging
import threading
from typing import Final

from st2actions_mistral.model.project import REMEDY, Foreign
from st2actions_mistral.relay.workqueue import Failure

LOG: Final = logging.getLogger(__name__)

# Projects that are remembered. Their ids come from Mistral, so their number is bounded.
_LIMIT: Final = 1000


class ForeignProjects:
    """Logs each foreign project once. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reported: dict[str, Failure] = {}

    def report(self, found: Foreign, what: str) -> None:
        """Count a record that is not written to, and log the first one of each project.

        :param what: the record, such as "action execution 123".
        """
        with self._lock:
            before = self._reported.get(found.project)
            if before is None and len(self._reported) >= _LIMIT:
                return
            reason = f"{what}: {found.reason}. {REMEDY}"
            times = before.times + 1 if before else 1
            self._reported[found.project] = Failure(times, reason, due=0)
        if before is None:
            LOG.warning(
                "Nothing is completed, rescheduled or cancelled in %s. First seen at %s",
                found.project,
                reason,
            )

    def failing(self) -> dict[str, Failure]:
        """Return how often each project was refused, and why the last time."""
        with self._lock:
            return dict(self._reported)
