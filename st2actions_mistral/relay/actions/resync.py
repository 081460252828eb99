"""Compare all pending actions with their children, and find those that need work.

A resync finds what the event stream missed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from st2actions_mistral.bridge.heartbeat import with_heartbeat
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered
from st2actions_mistral.model import states
from st2actions_mistral.model.mistral_fields import has_items
from st2actions_mistral.model.project import NoAccess
from st2actions_mistral.model.records import ACTION_NAME, action_of, created_at
from st2actions_mistral.relay.actions.decide import Rules
from st2actions_mistral.relay.actions.index import Index
from st2actions_mistral.relay.actions.observe import ActionObserver
from st2actions_mistral.relay.actions.place import Place
from st2actions_mistral.relay.no_access import REJECTED, ClosedProjects

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Children:
    """The child executions of actions, as StackStorm lists them."""

    first: Mapping[str, Mapping[str, Any]]
    """By action: ``id`` and ``status`` of the first child."""
    duplicated: Collection[str]
    """Actions that have more than one child."""
    others: Mapping[str, str]
    """By action that was not asked for: its unfinished child."""


@dataclass(frozen=True)
class Listing:
    """The result of a resync."""

    pending: Collection[str]
    """All pending actions."""
    changed: Collection[str]
    """Actions that need work."""
    duplicated: Collection[str]
    """Actions that have more than one child."""
    healthy: Collection[str]
    """Pending actions whose child is at work. Earlier failures are over."""


class ActionResync:
    """Lists pending actions and their children. It changes nothing but the index.

    :param heartbeat: called for each row of a listing.
    :param projects: collects the reports about projects without access.
    """

    def __init__(
        self,
        st2: St2Client,
        clients: ProjectClients,
        rules: Rules,
        index: Index,
        observer: ActionObserver,
        *,
        heartbeat: Callable[[], None] = lambda: None,
        projects: ClosedProjects | None = None,
    ) -> None:
        self._st2 = st2
        self._clients = clients
        self._rules = rules
        self._index = index
        self._observer = observer
        self._heartbeat = heartbeat
        self._projects = projects or ClosedProjects()

    def compare(self, *, full: bool = True) -> Listing:
        """Compare both systems.

        :param full: list the children of all actions, which finds duplicates and the children of
            actions that are not pending any more. Otherwise list only the children of actions without
            a known child.
        :raises RemoteError: a system did not answer. Then nothing is concluded from what is missing.
        """
        epoch = self._index.epoch()
        before = self._index.snapshot()
        pending = self.pending()
        # Completed by another relay; or given up: deleted, or closed before an executor got to it.
        changed = set(self._index.retain(pending, before))
        if not pending:
            children = self._find_children({}) if full else Children({}, (), {})
            if full:
                self._index.mark_listed(epoch)
            return Listing((), changed, children.duplicated, ())
        self._heartbeat()
        given_up = self.given_up(pending.values())
        self._heartbeat()
        known = {id_: child for id_, child in self._index.snapshot().items() if id_ in pending}
        duplicated: Collection[str] = ()
        unknown = {id_: action for id_, action in pending.items() if id_ not in known}
        if full or unknown:
            children = self._find_children(pending if full else unknown, others=full)
            known |= {id_: child["id"] for id_, child in children.first.items()}
            duplicated = children.duplicated
            if full:
                self._index.mark_listed(epoch)
            self._heartbeat()
        statuses = dict(with_heartbeat(self._st2.statuses(known.values()), self._heartbeat))
        healthy = set()
        for id_, execution_id in known.items():
            status = statuses.get(execution_id)
            if status is None or id_ in given_up or status in states.ST2_FINAL:
                changed.add(id_)
            else:
                healthy.add(id_)
        without = {id_: pending[id_] for id_ in pending.keys() - known.keys()}
        changed |= {id_ for id_ in without if id_ in given_up} | self._overdue(without)
        closed = self._without_access(pending, changed | known.keys())
        return Listing(pending, changed - closed, set(duplicated) - closed, healthy - closed)

    def pending(self) -> dict[str, dict[str, Any]]:
        """Return the pending actions of all projects that Mistral shows, by id.

        For the shape of a row see ``MistralClient.running_actions``.
        """
        rows = with_heartbeat(self._clients.lister.running_actions(), self._heartbeat)
        running = [action for action in rows if _is_whole(action)]
        names = {str(action["name"]) for action in running} - {ACTION_NAME}
        other = {name for name in names if self._observer.is_of_another_kind(name)}
        found = {a["id"]: a for a in running if a["name"] not in other and self._is_ours(a)}
        self._observer.hints.learn_records(found.values())
        return found

    def _is_ours(self, action: Mapping[str, Any]) -> bool:
        """Tell whether an action is a ``st2.action``, or one of its project that is based on it."""
        name = str(action["name"])
        if name == ACTION_NAME:
            return True
        try:
            access = self._observer.access(action)
            client = None if isinstance(access, NoAccess) else access
            return self._observer.base(name, client) == ACTION_NAME
        except Answered as error:
            if error.status not in REJECTED:
                raise
        # One project must not end the resync for the others.
        return self._observer.base(name) == ACTION_NAME

    def _without_access(
        self, pending: Mapping[str, Mapping[str, Any]], concerned: Collection[str]
    ) -> set[str]:
        """Return the pending actions that the relay must leave alone, and report those of concern."""
        if self._clients.scope() is None:
            return set()
        closed: set[str] = set()
        for id_, action in pending.items():
            self._heartbeat()
            try:
                access = self._observer.access(action)
            except Answered:
                # Keystone rejects the request for this project. The worker that gets the action fails.
                continue
            if isinstance(access, NoAccess):
                closed.add(id_)
                if id_ in concerned:
                    self._projects.report(access, f"action execution {id_}")
        return closed

    def given_up(self, pending: Collection[Mapping[str, Any]]) -> set[str]:
        """Return the actions that Mistral has given up, or seems to: the observer looks closer."""
        lister = self._clients.lister
        unfinished = list(with_heartbeat(lister.unfinished_tasks(), self._heartbeat))
        self._observer.tasks.learn(unfinished)
        at_work = {task["id"]: task for task in unfinished}
        of_task: dict[str, list[Mapping[str, Any]]] = {}
        for action in pending:
            if action.get("task_execution_id"):
                of_task.setdefault(action["task_execution_id"], []).append(action)
        workflow_of: dict[str, str] = {}
        for id_ in of_task.keys() & at_work:
            workflow = at_work[id_].get("workflow_execution_id")
            if isinstance(workflow, str):
                workflow_of[id_] = workflow
            else:
                LOG.warning("Task execution %s is skipped: Mistral shows no workflow of it.", id_)
                del of_task[id_]
        cancelled = self._cancelled(
            {workflow: of_task[task_id][0] for task_id, workflow in workflow_of.items()}
        )
        found: set[str] = set()
        for id_, actions in of_task.items():
            task = at_work.get(id_)
            state = states.CANCELLED if workflow_of.get(id_) in cancelled else states.RUNNING
            # Each item would be compared with all others.
            attempts = () if task is None or has_items(task) else actions
            for action in actions:
                if task is None or Place.of(action, task, state, attempts).given_up:
                    found.add(action["id"])
        return found

    def _cancelled(self, workflows: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Return those of these workflow executions that are CANCELLED, or whose state is rejected.

        :param workflows: each with one of its actions.
        """
        if not workflows:
            return set()
        rows = with_heartbeat(self._clients.lister.unfinished_executions(), self._heartbeat)
        ended = workflows.keys() - {row["id"] for row in rows}
        found = set()
        for id_ in ended:
            try:
                access = self._observer.access(workflows[id_])
                client = self._clients.lister if isinstance(access, NoAccess) else access
                if client.execution_state(id_) == states.CANCELLED:
                    found.add(id_)
            except Answered as error:
                if error.status not in REJECTED:
                    raise
                # One project must not end the resync for the others. The worker of the action fails.
                found.add(id_)
        return found

    def children(self, wanted: Mapping[str, Mapping[str, Any]], *, others: bool = False) -> Children:
        """List the children of these actions.

        :param wanted: as :meth:`pending` returns them.
        :param others: list also those of other actions if none is wanted: what began in the last day.
        """
        first: dict[str, dict[str, Any]] = {}
        duplicated: set[str] = set()
        unfinished: dict[str, str] = {}
        if wanted or others:
            oldest = min(map(created_at, wanted.values()), default=datetime.now(timezone.utc))
            rows = self._st2.children_since(self._rules.site, oldest)
            for child in with_heartbeat(rows, self._heartbeat):
                id_ = action_of(child, self._rules.site, self._rules.context_keys)
                if id_ is None:
                    continue
                if id_ not in wanted:
                    if child["status"] not in states.ST2_FINAL | {states.ST2_PENDING}:
                        unfinished[id_] = child["id"]
                    continue
                # The newest come first.
                if first.get(id_, child)["id"] != child["id"]:
                    duplicated.add(id_)
                first[id_] = child
        return Children(first, duplicated, unfinished)

    def _find_children(
        self, wanted: Mapping[str, Mapping[str, Any]], *, others: bool = True
    ) -> Children:
        listed = self.children(wanted, others=others)
        for id_, child in listed.first.items():
            self._index.set_first(id_, child["id"])
            self._observer.hints.learn_child(id_, child)
        for id_, execution_id in listed.others.items():
            # The next resync tells whether the action is pending.
            self._index.add(id_, execution_id)
        return listed

    def _overdue(self, without_child: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Return the actions that are old enough to be rescheduled, or to be lost."""
        limits = [s for s in (self._rules.reschedule_after, self._rules.lost_after) if s]
        if not limits or not without_child:
            return set()
        now = self._observer.now()
        return {
            id_
            for id_, action in without_child.items()
            if (now - created_at(action)).total_seconds() >= min(limits)
        }


def _is_whole(action: Mapping[str, Any]) -> bool:
    """Tell whether a row has what a resync needs. One that has not must not end it for the others."""
    try:
        created_at(action)
        whole = isinstance(action["name"], str)
    except (KeyError, ValueError):
        whole = False
    if not whole:
        # The client rejects a listing with a row without id.
        LOG.warning("Action execution %s is skipped: Mistral shows no name or time.", action["id"])
    return whole
