"""What both systems say of parents and their workflows, asked anew each time."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from st2actions_mistral.bridge.definitions import base_of, required_tasks
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import report, states
from st2actions_mistral.model.project import foreign
from st2actions_mistral.model.workflow import (
    WorkflowRef,
    decoded,
    reports_to,
    started_for,
    workflow_execution_id,
)
from st2actions_mistral.relay import parents, reconcile
from st2actions_mistral.relay.foreign import ForeignProjects
from st2actions_mistral.relay.parents import Seen
from st2actions_mistral.relay.view import alively

LOG: Final = logging.getLogger(__name__)

# Rows of one listing of a workflow's children.
_MOST_CHILDREN: Final = 10_000

_TOO_LARGE: Final = "(too large to be fetched from Mistral)"


@dataclass(frozen=True)
class Listed:
    """What a comparison of both systems finds."""

    waiting: Mapping[str, str]
    """The parents that have not ended, each with the workflow execution that it names."""
    doubtful: Collection[str]
    """Those executions that are to be looked at: a parent whose workflow has ended, or is gone, or that
    is to be cancelled; or one that has ended before its workflow."""
    leftover: Collection[str]
    """Sub-workflows that are at work below a workflow of ours that is cancelled."""


class ParentView:
    """Reads, changes nothing. Safe to share between threads."""

    def __init__(
        self,
        st2: St2Client,
        mistral: MistralClient,
        site: str,
        *,
        alive: Callable[[], None] = lambda: None,
        projects: ForeignProjects | None = None,
    ) -> None:
        """:param alive: called for each row of a listing, of which there may be many.
        :param projects: is told of the workflows of other projects.
        """
        self._st2 = st2
        self._mistral = mistral
        self._site = site
        self._alive = alive
        self._projects = projects or ForeignProjects()

    def listed(self) -> Listed:
        """Compare both systems.

        :raises RemoteError: one of them does not answer.
        """
        # In this order: a workflow is there before its parent names it.
        found = list(alively(self._st2.parents(self._site), self._alive))
        at_work = alively(self._mistral.unfinished_executions(), self._alive)
        unfinished = {row["id"]: row for row in at_work}
        waiting: dict[str, str] = {}
        doubtful: set[str] = set()
        claimed: set[str] = set()
        for parent in alively(self._st2.nameless_parents(), self._alive):
            # Of this Mistral, perhaps: its runner may have died before it could say so.
            waiting[parent["id"]] = workflow_execution_id(parent["id"])
            doubtful.add(parent["id"])
        for parent in found:
            ref = parents.ref_of(parent, self._site)
            if ref is None:
                continue
            waiting[parent["id"]] = ref.execution_id
            if parent["status"] == states.ST2_CANCELING or ref.execution_id not in unfinished:
                doubtful.add(parent["id"])
            else:
                claimed.add(ref.execution_id)
        # What nobody waits for, it seems. A runner may not have come to say so yet.
        ids = {started_for(row) for id_, row in unfinished.items() if id_ not in claimed} - {None}
        strangers = {str(id_) for id_ in ids} - waiting.keys()
        statuses = dict(alively(self._st2.statuses(strangers), self._alive))
        doubtful |= {id_ for id_, status in statuses.items() if status in states.ST2_REJECTING}
        return Listed(waiting, doubtful, self._leftover(unfinished))

    def look(self, parent_id: str) -> Seen:
        """One execution and its workflow."""
        parent = self._st2.get_execution(parent_id)
        if parent is None:
            return Seen(None)
        ref = parents.ref_of(parent, self._site)
        # An execution that was cancelled, or failed, in the middle of the start names none.
        workflow_id = ref.execution_id if ref else workflow_execution_id(parent_id)
        workflow = self._mistral.get_execution(workflow_id)
        scope = self._mistral.scope()
        if workflow is None or workflow["state"] in states.MISTRAL_FINAL:
            return Seen(parent, workflow, scope=scope)
        owner_id = reports_to(workflow)
        owner: Mapping[str, Any] | None = parent
        if owner_id != parent_id:
            owner = self._st2.get_execution(owner_id) if owner_id else None
            if owner is not None and parent["status"] in states.ST2_FINAL:
                # A re-run that its runner has not told of, perhaps: what becomes of it counts.
                parent = owner
        return Seen(parent, workflow, owner if parents.wants_no_more(parent) else None, scope=scope)

    def is_at_work(self, workflow_id: str) -> bool:
        """Whether a workflow has not ended, as far as Mistral knows it: a look that costs little."""
        state = self._mistral.execution_state(workflow_id)
        return state is not None and state not in states.MISTRAL_FINAL

    def report(self, workflow: Mapping[str, Any]) -> dict[str, Any]:
        """What a parent gets of its workflow, see ``model.report``."""
        ref = WorkflowRef(self._site, workflow["id"], str(workflow.get("workflow_name") or ""))
        tasks = report.in_order(self._mistral.tasks(workflow["id"]), self._required(workflow))
        whole = [self._task(listed["id"]) or listed for listed in tasks[: report.MOST_TASKS]]
        children = self._children(workflow, whole)
        shown = []
        for task in whole:
            below = task.get("type") == "WORKFLOW"
            rows = self._mistral.sub_executions(task["id"]) if below else []
            started = [row["id"] for row in rows]
            shown.append(report.Task(task, started, children.get(task["id"], ())))
        left_out = len(tasks) - len(shown)
        return report.workflow_report(workflow, shown, ref, left_out=left_out)

    def _required(self, workflow: Mapping[str, Any]) -> Mapping[str, Collection[str]]:
        """What the tasks of a reverse workflow require: it is started with the name of a task."""
        params = decoded(workflow.get("params"))
        if not isinstance(params, Mapping) or not params.get("task_name"):
            return {}
        return required_tasks(self._mistral, str(workflow.get("workflow_name") or ""))

    def _children(
        self, workflow: Mapping[str, Any], tasks: Collection[Mapping[str, Any]]
    ) -> dict[str, list[str]]:
        """The StackStorm executions made for those tasks whose results do not name them, by task, the
        oldest first."""
        task_of = self._unnamed(tasks)
        if not task_of:
            return {}
        first: dict[str, str] = {}
        try:
            for child in islice(self._listed_for(workflow), _MOST_CHILDREN):
                action_id = reconcile.action_of(child, self._site)
                if action_id in task_of:
                    first.setdefault(action_id, child["id"])
        except (Answered, OutcomeUnknown) as error:
            # The end of a workflow is worth more than the names of who ran its tasks.
            LOG.warning(
                "Not all children of workflow execution %s are named in its end: %s",
                workflow["id"],
                error.log_text(),
            )
        children: dict[str, list[str]] = {}
        for action_id, child_id in first.items():
            children.setdefault(task_of[action_id], []).append(child_id)
        return children

    def _unnamed(self, tasks: Collection[Mapping[str, Any]]) -> dict[str, str]:
        """The actions that ran in StackStorm of those tasks whose results do not say where, each with
        its task."""
        task_of: dict[str, str] = {}
        bases: dict[str, str] = {}
        for task in tasks:
            if not report.lacks_children(task):
                continue
            for action in self._mistral.attempts(task["id"]):
                name = str(action["name"])
                if name not in bases:
                    usual = name == reconcile.ACTION_NAME
                    bases[name] = name if usual else base_of(self._mistral, name)
                if bases[name] == reconcile.ACTION_NAME:
                    task_of[action["id"]] = task["id"]
        return task_of

    def _listed_for(self, workflow: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        parent = reports_to(workflow)
        if parent is not None and parent == started_for(workflow):
            return self._st2.children_of(workflow["id"], below=parent)
        # After a re-run they are below several executions.
        return self._st2.children_of(workflow["id"], since=reconcile.made_at(workflow))

    def _task(self, id_: str) -> dict[str, Any] | None:
        try:
            return self._mistral.get_task(id_)
        except OutcomeUnknown as error:
            if error.status is not None:
                raise
            # Its result may be too large to be fetched: a task has that of all its items together.
            brief = self._mistral.task_summary(id_)
            return {**brief, "result": json.dumps(_TOO_LARGE)} if brief else None

    def _leftover(self, unfinished: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Mistral cancels sub-workflows with their root, but not one that begins at that moment."""
        below: dict[str, list[str]] = {}
        for id_, row in unfinished.items():
            root = row.get("root_execution_id")
            if root and root not in unfinished:
                below.setdefault(root, []).append(id_)
        found: set[str] = set()
        for root, ids in below.items():
            workflow = self._mistral.get_execution(root)
            if workflow and workflow["state"] == states.CANCELLED and started_for(workflow):
                found.update(ids)
        if not found:
            return found
        scope = self._mistral.scope()
        others = {id_: other for id_ in found if (other := foreign(unfinished[id_], scope))}
        for id_, other in others.items():
            self._projects.report(other, f"workflow execution {id_}")
        return found - others.keys()
