"""Observe action executions and their children in both systems. Nothing here changes anything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Optional

from st2actions_mistral.bridge import native
from st2actions_mistral.bridge.definitions import base_of
from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.client.coalesce import Coalesced
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import Access, ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import InputError
from st2actions_mistral.model import states
from st2actions_mistral.model.children import is_accepted
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.project import NoAccess, owner_of, project_of
from st2actions_mistral.model.records import ACTION_NAME, action_of, claimed_project, created_at
from st2actions_mistral.relay.actions.decide import Inputs, Seen
from st2actions_mistral.relay.actions.effects import Look
from st2actions_mistral.relay.actions.index import LARGE_RESULT, Index
from st2actions_mistral.relay.actions.tasks import Tasks

# Levels of executions above each other.
_MAX_DEPTH: Final = 100

# Seconds for which the definition of an ad-hoc action counts.
_BASE_IS_FRESH: Final = 30.0

# Seconds between two questions for Mistral's time.
_CLOCK_IS_FRESH: Final = 300.0

ParseRequest = Callable[[Mapping[str, Any], MistralIds], Optional[ExecutionRequest]]
"""Read the inputs of an action, see ``bridge.request.request_parser``."""


class ActionObserver:
    """Reads what both systems have about one action. Safe to share between threads.

    :param clients: read an action by its id with a token for its project. Listings show all projects.
    :param parse_request: how the inputs of a lost action are read.
    :param keys: the values of ``context_key``, see ``records.action_of``.
    :param hints: where to look for the records of a project.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        st2: St2Client,
        clients: ProjectClients,
        site: str,
        index: Index,
        *,
        parse_request: ParseRequest,
        keys: Sequence[str] = (),
        hints: Hints | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._st2 = st2
        self._clients = clients
        self._site = site
        self._keys = keys
        self._index = index
        self._parse_request = parse_request
        self._clock = clock
        self.hints: Final = hints or Hints()
        self.tasks: Final = Tasks(clients.lister, clock=clock)
        self._bases = Coalesced(_ask_base, clock=clock)
        self._known = Coalesced(clients.lister.knows_action, clock=clock)
        self._mistral_time = Coalesced(self._ask_time, clock=clock)

    def observe(
        self,
        action_execution_id: str,
        execution_id: str | None = None,
        *,
        child: Mapping[str, Any] | None = None,
    ) -> Seen:
        """Observe one action and its child.

        :param execution_id: the child; None: as the index has it.
        :param child: the whole execution if it is known already. Otherwise it is fetched, without its
            result if that is larger than :data:`LARGE_RESULT`.
        """
        id_ = action_execution_id
        if child is None:
            execution_id = execution_id or self._index.child_of(id_)
            child = self._index.take_result(id_)
            if child is not None and execution_id not in (None, child["id"]):
                # It is the result of a duplicate.
                child = None
            if child is None and execution_id is not None:
                child = self._st2.get_execution(execution_id, max_result_size=LARGE_RESULT)
        vanished = execution_id if child is None else None
        if child is not None:
            self._index.mark_found(id_)
        seen = self.observe_action(id_, child)
        return replace(
            seen,
            child=child,
            vanished=vanished,
            age=0 if child is not None else self._age(id_, seen.action, vanished),
            is_first=child is not None and self._index.is_first(id_, child["id"]),
        )

    def observe_action(self, id_: str, child: Mapping[str, Any] | None = None) -> Seen:
        """Observe an action without its child.

        :param child: says where to look. The record of Mistral decides.
        """
        if child is not None and action_of(child, self._site, self._keys) == id_:
            self.hints.learn_child(id_, child)
        action: Mapping[str, Any] | None
        place, hidden, listed = None, False, None
        if child is not None and child["status"] in states.ST2_FINAL:
            listed = self.tasks.pending_action(id_, child)
        if listed is not None:
            action, place = listed
            access = self.access(action)
        else:
            action, access, hidden = self._look_up(id_, child)
        client = None if isinstance(access, NoAccess) else access
        if client and action and place is None and action["state"] == states.RUNNING:
            place = self.tasks.place_of(action, child, client)
        return Seen(
            action,
            base=self.base(action["name"], client) if action else None,
            place=place if client else None,
            was_pending=self._index.was_pending(id_),
            no_access=access if isinstance(access, NoAccess) else None,
            hidden=hidden,
            client=client,
        )

    def access(self, action: Mapping[str, Any]) -> Access:
        """Return the client for an action as Mistral shows it, or the reason why there is none."""
        trust_id = self._trust_of(action["id"], action.get("task_execution_id"))
        return self._clients.access(owner_of(action), trust_id)

    def _trust_of(self, id_: str, task_id: str | None) -> str | None:
        trust_id = self.hints.trust_of(id_)
        if trust_id is None and self._index.child_of(id_) is None:
            # Nothing but its workflow tells for whom a lost action runs.
            return self.hints.trust_of_workflow(self.tasks.workflow_of(task_id))
        return trust_id

    def _look_up(
        self, id_: str, child: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any] | None, Access, bool]:
        """Get an action by its id: with a token for its project, if that is known.

        :return: the action, the client for it, and True if Mistral may have it all the same.
        """
        lister = self._clients.lister
        if self._clients.scope() is None:
            return lister.find_action(id_), lister, False
        project_id = self.hints.project_of(id_)
        trust_id = self._trust_of(id_, self.hints.task_of(id_))
        if project_id is not None:
            access = self._clients.access(project_id, trust_id)
            hidden = isinstance(access, NoAccess)
            client = lister if isinstance(access, NoAccess) else access
            action = client.find_action(id_)
            return action, self.access(action) if action else access, hidden
        # An administrator of Mistral 20 and 21 cannot get the records of other projects by their ids.
        action = lister.find_action(id_)
        claimed = claimed_project(child) if action is None else None
        if claimed is not None:
            access = self._clients.access(claimed, trust_id)
            if isinstance(access, NoAccess):
                return None, access, True
            action = access.find_action(id_)
        if action is None:
            return None, lister, True
        self.hints.learn_records([action])
        return action, self.access(action), False

    def look(self, seen: Seen, look: Look) -> Seen:
        """Observe what a decision asks for.

        :return: what is seen then. It replaces ``seen``.
        """
        assert seen.action is not None
        if look is Look.INPUTS:
            return replace(seen, inputs=self._inputs(seen))
        if look is Look.CHILDREN:
            return self._with_first_child(seen)
        assert seen.child is not None
        if look is Look.ROOT:
            return replace(seen, root=self._root_of(seen.child), root_observed=True)
        whole = self._st2.get_execution(seen.child["id"])
        # While the result waited for its turn, its action may have been given up.
        found = self.observe(seen.action["id"], seen.child["id"], child=whole)
        return replace(
            found,
            whole=True,
            is_first=found.is_first or seen.is_first,
            children=seen.children,
            retries_exhausted=seen.retries_exhausted,
        )

    def _root_of(self, child: Mapping[str, Any]) -> dict[str, Any] | None:
        found = None
        for _ in range(_MAX_DEPTH):
            above = (found or child).get("parent")
            execution = self._st2.get_execution(above, max_result_size=1) if above else None
            if execution is None:
                break
            found = execution
        return found

    def find_children(self, action: Mapping[str, Any] | None, id_: str) -> list[dict[str, Any]]:
        """Return all children of an action, the first one first, and let the index know it."""
        since = created_at(action) if action else None
        rows = self._st2.find_children(id_, self._site, since)
        found = [row for row in rows if is_accepted(row, self._keys)]
        for child in found[:1]:
            self._index.set_first(id_, child["id"])
            self.hints.learn_child(id_, child)
        return found

    def base(self, action_name: str, client: MistralClient | None = None) -> str:
        """Return the name of the action that does the work, see ``bridge.definitions.base_of``.

        :param client: looks the name up in its project; None: in all that the lister sees.
        """
        if action_name == ACTION_NAME:
            return action_name
        return self._bases.get((client or self._clients.lister, action_name), _BASE_IS_FRESH)

    def is_of_another_kind(self, action_name: str) -> bool:
        """Return True if a name is that of no ``st2.action`` in any project, without asking for each.

        An administrator of Mistral 20 and 21 does not find the ad-hoc actions of other projects (from
        its source), so a name that is unknown tells nothing.
        """
        if self.base(action_name) != action_name:
            return False
        return self._clients.scope() is None or self._known.get(action_name, _BASE_IS_FRESH)

    def now(self) -> datetime:
        """Return Mistral's time. The clock of this host may differ."""
        return self._mistral_time.get(None, _CLOCK_IS_FRESH) + timedelta(seconds=self._clock())

    def _age(self, id_: str, action: Mapping[str, Any] | None, vanished: str | None) -> float:
        if vanished is not None:
            return self._index.missing_for(id_)
        return (self.now() - created_at(action)).total_seconds() if action else 0

    def _inputs(self, seen: Seen) -> Inputs:
        assert seen.action is not None
        assert seen.client is not None
        action = seen.client.get_action(seen.action["id"])
        try:
            if action is None:
                raise InputError("input", "is not in Mistral any more.")
            ids = self._ids(action, seen.client)
            return Inputs(self._parse_request(inputs_of(action, ids, seen.client), ids))
        except InputError as error:
            return Inputs(error=error)

    def _ids(self, action: Mapping[str, Any], client: MistralClient) -> MistralIds:
        """Return the ids that the action itself would have sent to StackStorm."""
        task_id = action.get("task_execution_id")
        task = self.tasks.task(task_id, None, client) if task_id else None
        workflow_id = task["workflow_execution_id"] if task else None
        return MistralIds(
            site=self._site,
            workflow_execution_id=workflow_id,
            workflow_name=task["workflow_name"] if task else None,
            task_execution_id=task["id"] if task else None,
            action_execution_id=action["id"],
            project_id=project_of(action),
            trust_id=self.hints.trust_of_workflow(workflow_id),
        )

    def _with_first_child(self, seen: Seen) -> Seen:
        assert seen.action is not None
        found = self.find_children(seen.action, seen.action["id"])
        known = seen.child["id"] if seen.child else None
        if not found or found[0]["id"] == known:
            return replace(seen, children=len(found))
        again = self.observe(seen.action["id"], found[0]["id"])
        return replace(
            again,
            children=len(found),
            inputs=seen.inputs,
            rejection=seen.rejection,
            retries_exhausted=seen.retries_exhausted,
        )

    def _ask_time(self, _: None) -> datetime:
        now = self._clients.lister.clock() or datetime.now(timezone.utc)
        return now - timedelta(seconds=self._clock())


def _ask_base(key: tuple[MistralClient, str]) -> str:
    return base_of(*key)


def inputs_of(action: Mapping[str, Any], ids: MistralIds, mistral: MistralClient) -> Mapping[str, Any]:
    """Return the inputs of an ``st2.action``, or of a native action, as Mistral recorded them.

    :raises InputError: they are unknown. Of an ad-hoc action Mistral records the inputs of the ad-hoc
        action itself, and computes those of its base when it hands it to an executor.
    """
    name = action["name"]
    if name == ACTION_NAME:
        return _recorded(action)
    if not native.is_native(mistral.action(name)):
        raise InputError("input", f"of {name} cannot be read back: it is an ad-hoc action.")
    environment = native.environment_of(mistral, ids.workflow_execution_id)
    return native.inputs_of(name, _recorded(action), environment)


def _recorded(action: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = action.get("input")
    if isinstance(inputs, str):
        try:
            inputs = json.loads(inputs)
        except ValueError:
            inputs = None
    if not isinstance(inputs, Mapping):
        raise InputError("input", "is not in Mistral any more.")
    return inputs
