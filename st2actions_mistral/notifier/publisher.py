"""The notification publisher ``st2`` of Mistral, see ``[notifier] notify`` in mistral.conf."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final

from oslo_config import cfg

from st2actions_mistral.config.notifier import load_notifier_settings
from st2actions_mistral.errors import ConfigError
from st2actions_mistral.notifier.events import Event
from st2actions_mistral.notifier.service import Notifier

LOG: Final = logging.getLogger(__name__)


class St2Publisher:
    """Takes the events of Mistral, in an engine or in the notifier's process.

    Mistral makes one of it in each process, for the first event. It has no base class: Mistral only
    calls :meth:`publish`.

    :param conf: Mistral's configuration.
    """

    def __init__(self, conf: cfg.ConfigOpts = cfg.CONF) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._notifier: Notifier | None = None
        self._last = threading.local()

    def publish(
        self,
        ctx: object,
        ex_id: str,
        data: Mapping[str, Any],
        event: str,
        timestamp: object,
        **kwargs: object,
    ) -> None:
        """Handle an event soon, in another thread.

        :param ctx: Mistral's context, unused: the notifier has the identity of the relay.
        :param data: of the workflow or task execution.
        :param kwargs: what else the entry in ``notify`` has. An author may have written it, so it is
            ignored.
        """
        if getattr(self._last, "data", None) is data:
            # Mistral has several entries for this publisher: those of an author, of the operator, and
            # of the operator once more for a sub-workflow that is started by RPC.
            return
        self._last.data = data
        found = Event.of(event, data)
        notifier = self._current() if found is not None else None
        if found is not None and notifier is not None:
            notifier.add(found)

    def _current(self) -> Notifier | None:
        """Return the notifier of this process; None if its options are invalid.

        A fork must not share its parent's sockets, and has none of its threads.
        """
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._notifier = os.getpid(), self._make()
            return self._notifier

    def _make(self) -> Notifier | None:
        try:
            settings = load_notifier_settings(self._conf)
        except ConfigError as error:
            reason = str(error)
        else:
            notifier = Notifier(settings)
            # Also at the end of the process.
            weakref.finalize(self, notifier.close)
            LOG.info("The notifier has started. Trigger: %s.", settings.trigger or "none")
            return notifier
        LOG.error("The notifier does nothing, and everything is left to the relay: %s", reason)
        return None
