"""Read parents and their workflows from both systems. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from st2actions_mistral.bridge.heartbeat import with_heartbeat
from st2actions_mistral.bridge.hints import Hints
from st2actions_mistral.bridge.parents.decide import (
    Look,
    Seen,
    StateSeen,
    SubWorkflowSeen,
    is_paused_workflow,
    ref_of,
)
from st2actions_mistral.client.projects import Access, ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.model import states
from st2actions_mistral.model.links import reports_to, workflow_execution_id
from st2actions_mistral.model.project import NoAccess, owner_of
from st2actions_mistral.model.records import action_of, claimed_trust, created_at

# Executions of a workflow in which a trust is looked for: the first page of StackStorm's listing. All
# actions of a user have the same trust, unless its lifetime has nearly ended.
_MOST_CHILDREN: Final = 100


class ParentObserver:
    """Reads parents and workflows. Safe to share between threads.

    :param clients: read a workflow by its id with a token for its project. Listings show all projects.
    :param keys: the values of ``context_key``, see ``records.action_of``.
    :param hints: the projects and trusts of records; more are added.
    :param heartbeat: called for each row of a listing, because a listing may have many pages.
    """

    def __init__(
        self,
        st2: St2Client,
        clients: ProjectClients,
        site: str,
        *,
        keys: Sequence[str] = (),
        hints: Hints | None = None,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        self._st2 = st2
        self._clients = clients
        self._lister = clients.lister
        self._site = site
        self._keys = keys
        self._hints = hints or Hints()
        self._heartbeat = heartbeat

    def state(self, workflow_id: str) -> StateSeen:
        """Return the state of one workflow: one small request."""
        project_id = self._hints.project_of(workflow_id)
        client = self._lister
        if project_id is not None:
            trust_id = self._hints.trust_of_workflow(workflow_id)
            access = self._clients.access(project_id, trust_id)
            client = client if isinstance(access, NoAccess) else access
        return StateSeen(client.execution_state(workflow_id))

    def look(self, look: Look, parent_id: str, seen: StateSeen | Seen) -> Seen:
        """Add what a decision asked for to what was seen."""
        if look is Look.BOTH or not isinstance(seen, Seen):
            return self.observe(parent_id)
        assert seen.workflow is not None
        if look is Look.BELOW:
            return replace(seen, active_below=self._is_active_below(parent_id, seen.workflow["id"]))
        if look is Look.PAUSED:
            children = with_heartbeat(self._st2.children_below(parent_id), self._heartbeat)
            return replace(seen, paused_below=any(map(is_paused_workflow, children)))
        owner_id = reports_to(seen.workflow)
        owner = self._st2.get_execution(owner_id) if owner_id else None
        return replace(seen, owner=owner, owner_observed=True)

    def observe(self, parent_id: str) -> Seen:
        """Return one parent and its workflow."""
        parent = self._st2.get_execution(parent_id)
        if parent is None:
            return Seen(None)
        ref = ref_of(parent, self._site)
        # An execution that was cancelled, or failed, in the middle of the start names no workflow.
        workflow_id = ref.execution_id if ref else workflow_execution_id(parent_id)
        workflow, access, hidden = self._look_up(workflow_id, ref.project_id if ref else None)
        if isinstance(access, NoAccess):
            return Seen(parent, workflow, no_access=access, hidden=hidden)
        return Seen(parent, workflow, client=access, hidden=hidden)

    def observe_workflow(self, workflow_id: str) -> Seen:
        """Return one workflow and its parent, to which it must report.

        :return: without a parent if the workflow names none, or if that names another workflow.
        """
        workflow, access, hidden = self._look_up(workflow_id, None)
        parent_id = reports_to(workflow) if workflow else None
        parent = self._st2.get_execution(parent_id) if parent_id else None
        ref = ref_of(parent, self._site) if parent else None
        if ref is not None and ref.execution_id != workflow_id:
            parent = None
        if isinstance(access, NoAccess):
            return Seen(parent, workflow, no_access=access, hidden=hidden)
        return Seen(parent, workflow, client=access, hidden=hidden)

    def sub_workflow(self, workflow_id: str) -> SubWorkflowSeen:
        """Return a workflow and its outermost workflow."""
        workflow, access, _ = self._look_up(workflow_id, None)
        root_id = workflow.get("root_execution_id") if workflow else None
        client = self._lister if isinstance(access, NoAccess) else access
        root = client.get_execution(root_id) if root_id else None
        if isinstance(access, NoAccess):
            return SubWorkflowSeen(workflow, root, no_access=access)
        return SubWorkflowSeen(workflow, root, client=access)

    def _look_up(
        self, workflow_id: str, claimed: str | None
    ) -> tuple[dict[str, Any] | None, Access, bool]:
        """Get a workflow by its id: with a token for its project, if that is known.

        :param claimed: the project in which the runner started the workflow, unchecked; None: unknown.
        :return: the workflow, the client for it, and True if Mistral may have it all the same.
        """
        if self._clients.scope() is None:
            return self._lister.get_execution(workflow_id), self._lister, False
        project_id = self._hints.project_of(workflow_id)
        trust_id = self._hints.trust_of_workflow(workflow_id)
        if project_id is not None:
            access = self._clients.access(project_id, trust_id)
            hidden = isinstance(access, NoAccess)
            client = self._lister if isinstance(access, NoAccess) else access
            workflow = client.get_execution(workflow_id)
            return workflow, self._access_by_any(workflow) if workflow else access, hidden
        # A user who is no administrator sees the workflows of one project.
        workflow, access = self._lister.get_execution(workflow_id), self._lister
        if workflow is None and claimed is not None:
            access = self._clients.access(claimed, trust_id)
            if not isinstance(access, NoAccess):
                workflow = access.get_execution(workflow_id)
        if workflow is None:
            return None, access, True
        self._hints.learn_records([workflow])
        return workflow, self._access_by_any(workflow), False

    def _access_by_any(self, workflow: Mapping[str, Any]) -> Access:
        """Return the client for a workflow, by a trust of its executions if there is no other.

        An administrator could read the workflow, but not its tasks in Mistral 20.
        """
        access = self.access(workflow)
        if isinstance(access, NoAccess) and self._learn_trust(workflow):
            return self.access(workflow)
        return access

    def _learn_trust(self, workflow: Mapping[str, Any]) -> bool:
        """Look for a trust that an execution of a workflow names, and remember it.

        :return: True if there is one that was not known. It is unchecked, see ``ProjectClients``.
        """
        known = self._hints.trust_of_workflow(workflow["id"])
        if not self._clients.uses_trusts or known is not None:
            return False
        children = self._st2.children_of(workflow["id"], since=created_at(workflow))
        for child in islice(children, _MOST_CHILDREN):
            action_id = action_of(child, self._site, self._keys)
            if action_id is not None and claimed_trust(child) is not None:
                self._hints.learn_child(action_id, child)
                return True
        return False

    def access(self, workflow: Mapping[str, Any]) -> Access:
        """Return the client for a workflow as Mistral shows it, or the reason why there is none.

        A sub-workflow without a trust of its own runs for the user of its outermost workflow.
        """
        ids = workflow["id"], workflow.get("root_execution_id")
        trusts = (self._hints.trust_of_workflow(id_) for id_ in ids)
        return self._clients.access(owner_of(workflow), next(filter(None, trusts), None))

    def _is_active_below(self, parent_id: str, workflow_id: str) -> bool:
        """Return True if an action of a workflow, or of its sub-workflows, still runs.

        Mistral keeps an action RUNNING whose child execution is paused or pending.
        """
        below = (
            row["id"]
            for row in with_heartbeat(self._lister.unfinished_executions(), self._heartbeat)
            if workflow_id in (row["id"], row.get("root_execution_id"))
        )
        tasks = {task["id"] for id_ in below for task in self._lister.tasks_of(id_, unfinished=True)}
        running = {
            action["id"]
            for action in with_heartbeat(self._lister.running_actions(), self._heartbeat)
            if action.get("task_execution_id") in tasks
        }
        if not running:
            return False
        children = self._st2.children_below(parent_id)
        return bool(
            running
            - {
                action_of(child, self._site, self._keys)
                for child in with_heartbeat(children, self._heartbeat)
                if child["status"] in states.ST2_INACTIVE
            }
        )
