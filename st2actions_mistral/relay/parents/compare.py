"""Compare all parents with all workflows. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from st2actions_mistral.bridge.heartbeat import with_heartbeat
from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.bridge.parents.decide import (
    SubWorkflowSeen,
    Wait,
    decide_sub_workflow,
    disagree,
    is_paused_workflow,
    parent_of,
    ref_of,
)
from st2actions_mistral.bridge.parents.observe import ParentObserver
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered
from st2actions_mistral.model import states
from st2actions_mistral.model.links import started_for, workflow_execution_id
from st2actions_mistral.model.project import NoAccess
from st2actions_mistral.relay.no_access import REJECTED


@dataclass(frozen=True)
class Listing:
    """The result of comparing all parents and workflows of both systems."""

    pending: Mapping[str, str]
    """The parents that are not final, each with the id of its workflow execution."""
    changed: Collection[str]
    """The executions to reconcile: parents whose workflow has ended or is missing, parents that are
    canceling, pausing, resuming or name no workflow, those of which only one of parent and workflow is
    paused, those that run although a workflow below them is paused, and executions that became final
    before their workflow did."""
    sub_workflows: Collection[str]
    """Sub-workflows that still run although their outermost workflow is cancelled."""


class ParentComparison:
    """Lists the parents and workflows of both systems.

    :param lister: sees the workflows of all projects.
    :param observer: knows with which client a workflow can be read.
    :param hints: where to look for the records of a project.
    :param heartbeat: called for each row of a listing, because a listing may have many pages.
    """

    def __init__(
        self,
        st2: St2Client,
        lister: MistralClient,
        site: str,
        observer: ParentObserver,
        *,
        hints: Hints,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        self._st2 = st2
        self._lister = lister
        self._site = site
        self._observer = observer
        self._hints = hints
        self._heartbeat = heartbeat

    def compare(self) -> Listing:
        """List the parents and workflows of both systems and compare them.

        :raises RemoteError: one of the systems did not answer.
        """
        # In this order, because a workflow exists before its parent names it.
        found = list(with_heartbeat(self._st2.parents(self._site), self._heartbeat))
        rows = with_heartbeat(self._lister.unfinished_executions(), self._heartbeat)
        unfinished = {row["id"]: row for row in rows}
        self._hints.learn_records(unfinished.values())
        pending: dict[str, str] = {}
        changed: set[str] = set()
        claimed: set[str] = set()
        for parent in with_heartbeat(self._st2.nameless_parents(), self._heartbeat):
            # Its runner may have died before it could name the workflow, perhaps one of this Mistral.
            pending[parent["id"]] = workflow_execution_id(parent["id"])
            changed.add(parent["id"])
        running = {parent["id"] for parent in found if parent["status"] == states.ST2_RUNNING}
        changed |= running & {parent_of(child) for child in found if is_paused_workflow(child)}
        for parent in found:
            ref = ref_of(parent, self._site)
            if ref is None:
                continue
            pending[parent["id"]] = ref.execution_id
            workflow = unfinished.get(ref.execution_id)
            if workflow is None or disagree(parent["status"], workflow["state"]):
                changed.add(parent["id"])
            else:
                claimed.add(ref.execution_id)
        # Unfinished workflows without a pending parent. Their runner may not have named them yet.
        started = (started_for(row) for id_, row in unfinished.items() if id_ not in claimed)
        others = {id_ for id_ in started if id_ is not None} - pending.keys()
        statuses = with_heartbeat(self._st2.statuses(others), self._heartbeat)
        changed |= {id_ for id_, status in statuses if status in states.ST2_REJECTING}
        return Listing(pending, changed, self._below_cancelled(unfinished))

    def _below_cancelled(self, unfinished: Mapping[str, Mapping[str, Any]]) -> set[str]:
        below = {id_: row.get("root_execution_id") for id_, row in unfinished.items()}
        ended = {
            id_: root_id for id_, root_id in below.items() if root_id and root_id not in unfinished
        }
        roots: dict[str, Mapping[str, Any] | None] = {}
        found = set()
        for id_, root_id in ended.items():
            workflow = unfinished[id_]
            try:
                access = self._observer.access(workflow)
                if root_id not in roots:
                    client = self._lister if isinstance(access, NoAccess) else access
                    roots[root_id] = client.get_execution(root_id)
            except Answered as error:
                if error.status not in REJECTED:
                    raise
                # One project must not end the resync for the others. The worker of the workflow fails.
                found.add(id_)
                continue
            no_access = access if isinstance(access, NoAccess) else None
            seen = SubWorkflowSeen(workflow, roots[root_id], no_access=no_access)
            if not isinstance(decide_sub_workflow(seen), Wait):
                found.add(id_)
        return found
