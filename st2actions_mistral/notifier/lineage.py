"""Find the outermost workflow of an event, and the StackStorm execution that it runs for."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final, Union

from st2actions_mistral.bridge.trust import st2_for, trusted_parent
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.config.load import BridgeSettings
from st2actions_mistral.errors import InputError, RemoteError
from st2actions_mistral.model.context import MistralIds, St2Context
from st2actions_mistral.model.links import context_of
from st2actions_mistral.model.project import NoAccess, project_of
from st2actions_mistral.notifier.events import WORKFLOW, Event

LOG: Final = logging.getLogger(__name__)

# Workflows that are remembered, about 0.3 KB each.
_LIMIT: Final = 1000

Ids = tuple[str, Union[str, None]]
"""The id of the outermost workflow, and that of its parent execution."""


class Lineage:
    """Reads and remembers the ids above a workflow. Safe to share between threads.

    :param limit: workflows that are remembered.
    """

    def __init__(
        self, clients: ProjectClients, settings: BridgeSettings, *, limit: int = _LIMIT
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._limit = limit
        self._lock = threading.Lock()
        self._known: dict[str, Ids] = {}

    def of(self, event: Event) -> tuple[str | None, str | None]:
        """Return the ids of an event's outermost workflow and of its parent execution.

        None for what is not known, or not to be trusted.
        """
        id_ = event.workflow_execution_id
        with self._lock:
            if event.may_change_parent:
                self._known.clear()
            found = self._known.get(id_)
        if found is None:
            failed: RemoteError | None = None
            try:
                found = self._read(id_, event.project_id)
            except RemoteError as error:
                failed = error
            if failed is not None:
                LOG.info(
                    "An event of workflow execution %s names no parent execution: %s",
                    id_,
                    failed.log_text(),
                )
            if found is None:
                return event.root_execution_id or (id_ if event.kind == WORKFLOW else None), None
            with self._lock:
                if len(self._known) >= self._limit:
                    del self._known[next(iter(self._known))]
                self._known[id_] = found
        return found

    def _read(self, id_: str, project_id: str | None) -> Ids | None:
        """Read a workflow, and the outermost one if it is another.

        :raises RemoteError: Mistral does not respond.
        """
        access = self._clients.access(project_id)
        # An administrator may read it too.
        client = self._clients.lister if isinstance(access, NoAccess) else access
        workflow = client.execution_summary(id_)
        root_id = workflow.get("root_execution_id") if workflow else None
        if isinstance(root_id, str):
            workflow = client.execution_summary(root_id)
        return (workflow["id"], self._parent_of(workflow)) if workflow else None

    def _parent_of(self, workflow: dict[str, Any]) -> str | None:
        given = context_of(workflow)
        ids = MistralIds(
            self._settings.site,
            workflow_execution_id=workflow["id"],
            project_id=project_of(workflow),
        )
        try:
            context = St2Context.parse(given)
            if st2_for(self._settings, context) != self._settings.st2:
                # The parent is in another StackStorm.
                return None
            parent = trusted_parent(self._settings, context, given, ids, for_completion=True)
        except InputError:
            return None
        return parent.execution_id if parent else None
