"""Find the trust with which the notifier may read a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.model.records import action_of, claimed_trust, created_at
from st2actions_mistral.notifier.events import Event

# Executions that are looked at for one workflow: the first page of StackStorm's listing. All actions of
# a user have the same trust, unless its lifetime has nearly ended.
_MOST: Final = 100


class TrustFinder:
    """Reads the trusts that the executions of a workflow name. Safe to share between threads.

    :param keys: the values of ``context_key``, see ``records.action_of``.
    :param hints: where to remember the trusts.
    """

    def __init__(
        self,
        st2: St2Client,
        clients: ProjectClients,
        site: str,
        *,
        keys: Sequence[str] = (),
        hints: Hints,
    ) -> None:
        self._st2 = st2
        self._clients = clients
        self._site = site
        self._keys = keys
        self._hints = hints

    def find(self, event: Event) -> bool:
        """Look for a trust of the workflow of an event.

        :return: True if there is one that was not known. It is unchecked, see ``ProjectClients``.
        :raises RemoteError: StackStorm did not answer.
        """
        id_ = event.workflow_execution_id
        if not self._clients.uses_trusts or self._hints.trust_of_workflow(id_) is not None:
            return False
        if not isinstance(event.data.get("created_at"), str):
            return False
        children = self._st2.children_of(id_, since=created_at(event.data))
        for child in islice(children, _MOST):
            action_id = action_of(child, self._site, self._keys)
            if action_id is not None and claimed_trust(child) is not None:
                self._hints.learn_child(action_id, child)
                return True
        return False
