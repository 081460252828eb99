"""Stand-ins for the two systems, for tests of the relay's controllers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from st2actions_mistral.bridge import native
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import Answered
from st2actions_mistral.model import states
from st2actions_mistral.model.context import sign_ids
from st2actions_mistral.model.links import WorkflowRef, workflow_execution_id
from st2actions_mistral.model.project import NoAccess, Scope, owner_of
from st2actions_mistral.model.records import action_of

SITE = "here"
SETTINGS = RelaySettings(
    site=SITE,
    resync_interval=30,
    reschedule_after=0,
    lost_after=600,
    cancel_orphans=True,
    workers=2,
    field_size_limit_kb=1024,
)

PARENT = "6b03c160746e6986596007f7"
"""The id of an execution."""
WORKFLOW = workflow_execution_id(PARENT)
"""The id of the workflow that runs for it."""
TASK_WORKFLOW = "0e8b9c1e-5a4f-4b9e-9a0c-6f0c1d2e3f40"
"""The id of the workflow that has the tasks of :func:`task`."""

Hook = Callable[..., Any]


class Recorded:
    """Counts requests, and lets a test answer or fail one kind of them."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        """Requests so far, by the name of the client's method."""
        self.hooks: dict[str, Hook] = {}
        """Called with the arguments of the method of that name, before it; may raise, or answer."""

    def asked(self, name: str, *args: Any) -> Any:
        self.requests[name] += 1
        hook = self.hooks.get(name)
        return hook(*args) if hook else None


class St2(Recorded):
    """Stands in for ``St2Client``."""

    def __init__(self) -> None:
        super().__init__()
        self.executions: dict[str, dict[str, Any]] = {}
        self.results: list[Mapping[str, Any]] = []
        """Results that were offered for parents, also those that failed."""
        self.cancelled: list[str] = []
        """Executions that were cancelled."""
        self.asks_runner = False
        """True: a parent that is to be canceled becomes canceling first."""
        self.time: datetime | None = None
        """StackStorm's time; None: it does not say."""

    def add(self, *executions: dict[str, Any]) -> None:
        self.executions.update((execution["id"], execution) for execution in executions)

    def action(self, ref: str) -> None:
        """Know no action."""
        self.asked("action")

    def parents(self, site: str) -> Iterator[dict[str, Any]]:
        self.asked("parents")
        for row in self.executions.values():
            ref = WorkflowRef.of(row.get("context"))
            if row["status"] not in states.ST2_FINAL and ref and ref.site == site:
                yield row

    def nameless_parents(self) -> Iterator[dict[str, Any]]:
        self.asked("nameless_parents")
        for row in self.executions.values():
            unfinished = row["status"] not in states.ST2_FINAL
            if unfinished and row.get("runner") and not WorkflowRef.of(row.get("context")):
                yield row

    def statuses(self, ids: Collection[str]) -> Iterator[tuple[str, str]]:
        self.asked("statuses", set(ids))
        for id_ in ids:
            if id_ in self.executions:
                yield id_, self.executions[id_]["status"]

    def get_execution(
        self, execution_id: str, *, max_result_size: int | None = None
    ) -> dict[str, Any] | None:
        self.asked("get_execution", execution_id)
        found = self.executions.get(execution_id)
        if found and max_result_size and found.get("result_size", 0) > max_result_size:
            return {key: value for key, value in found.items() if key != "result"}
        return dict(found) if found else None

    def children_of(self, workflow_id: str, **given: Any) -> Iterator[dict[str, Any]]:
        self.asked("children_of", workflow_id, given)
        for row in self.executions.values():
            context = row.get("context")
            ids = context.get("mistral") if isinstance(context, dict) else None
            if isinstance(ids, dict) and ids.get("workflow_execution_id") == workflow_id:
                yield row

    def find_children(
        self, action_id: str, site: str, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        self.asked("find_children", action_id, site, since)
        return [row for row in self.executions.values() if action_of(row, site) == action_id]

    def find_children_once(
        self, action_id: str, site: str, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        return self.find_children(action_id, site, since)

    def children_since(self, site: str, since: datetime) -> Iterator[dict[str, Any]]:
        """The newest come first, as StackStorm lists them."""
        self.asked("children_since", site, since)
        return reversed([row for row in self.executions.values() if action_of(row, site)])

    def clock(self) -> datetime | None:
        self.asked("clock")
        return self.time

    def retrying(self, **_: Any) -> Callable[[Callable[[], Any]], Any]:
        return lambda attempt: attempt()

    def post_execution_once(
        self, body: Mapping[str, Any], context: str | None = None
    ) -> dict[str, Any]:
        self.asked("post_execution_once", body, context)
        made = {"id": f"created-{len(self.executions)}", "status": "requested"}
        self.add({**made, "context": json.loads(context or "{}")})
        return made

    def cancel(self, execution_id: str) -> str | None:
        self.asked("cancel", execution_id)
        self.cancelled.append(execution_id)
        if self.executions[execution_id]["status"] != "pending":
            self.executions[execution_id]["status"] = "canceling"
        return str(self.executions[execution_id]["status"])

    def pending(self, site: str) -> Iterator[dict[str, Any]]:
        self.asked("pending", site)
        yield from (row for row in self.executions.values() if row["status"] == "pending")

    def change_status(self, execution_id: str, status: str) -> dict[str, Any] | None:
        """Change the status as StackStorm does, unless a hook returns what it is instead."""
        answer = self.asked("change_status", execution_id, status)
        execution = self.executions.get(execution_id)
        if execution is None:
            return None
        execution["status"] = answer or status
        return dict(execution)

    def children_below(self, execution_id: str) -> Iterator[dict[str, Any]]:
        self.asked("children_below", execution_id)
        for row in self.executions.values():
            if row.get("context", {}).get("parent", {}).get("execution_id") == execution_id:
                yield row

    def finish(self, execution_id: str, status: str, result: Mapping[str, Any]) -> dict[str, Any]:
        self.results.append(result)
        self.asked("finish", execution_id, status, result)
        execution = self.executions.get(execution_id)
        if execution is None:
            raise Answered("PUT", "x", 404, "no")
        if execution["status"] not in states.ST2_FINAL:
            ask = status == "canceled" and self.asks_runner
            execution["status"] = "canceling" if ask else status
            if not ask:
                execution["result"] = result
        return dict(execution)


class Mistral(Recorded):
    """Stands in for ``MistralClient``."""

    def __init__(self) -> None:
        super().__init__()
        self.workflows: dict[str, dict[str, Any]] = {}
        self.tasks_by_workflow: dict[str, list[dict[str, Any]]] = {}
        """By workflow."""
        self.actions_by_task: dict[str, list[dict[str, Any]]] = {}
        """By task."""
        self.definitions: dict[str, str] = {}
        """Of workflows, and of ad-hoc and native actions."""
        self.native: set[str] = set()
        """The names of the native actions."""
        self.actions: dict[str, dict[str, Any]] = {}
        """Action executions."""
        self.task_executions: dict[str, dict[str, Any]] = {}
        """Task executions, for tests of actions."""
        self.completed: list[tuple[str, str, Mapping[str, Any]]] = []
        """Action, state and output of each request to complete an action."""
        self.time: datetime | None = None
        """Mistral's time; None: it does not say."""
        self.token: Scope | None = None
        """The project of the token; None: there is no authentication."""

    def add(self, *workflows: dict[str, Any]) -> None:
        self.workflows.update((workflow["id"], workflow) for workflow in workflows)

    def scope(self) -> Scope | None:
        return self.token

    def unfinished_executions(self) -> Iterator[dict[str, Any]]:
        self.asked("unfinished_executions")
        yield from (w for w in self.workflows.values() if w["state"] not in states.MISTRAL_FINAL)

    def get_execution(self, execution_id: str) -> dict[str, Any] | None:
        self.asked("get_execution", execution_id)
        found = self.workflows.get(execution_id)
        return dict(found) if found else None

    def execution_summary(self, execution_id: str) -> dict[str, Any] | None:
        self.asked("execution_summary", execution_id)
        found = self.workflows.get(execution_id)
        return dict(found) if found else None

    def execution_state(self, execution_id: str) -> str | None:
        self.asked("execution_state", execution_id)
        found = self.workflows.get(execution_id)
        return str(found["state"]) if found else None

    def change_state(self, execution_id: str, state: str) -> dict[str, Any]:
        self.asked("change_state", execution_id, state)
        workflow = self.workflows.get(execution_id)
        if workflow is None:
            raise Answered("PUT", "x", 404, "no")
        if workflow["state"] not in states.MISTRAL_FINAL:
            workflow["state"] = state
        return dict(workflow)

    def resume(self, execution_id: str) -> dict[str, Any]:
        return self.change_state(execution_id, states.RUNNING)

    def tasks(self, workflow_id: str) -> list[dict[str, Any]]:
        self.asked("tasks", workflow_id)
        return [
            {k: v for k, v in t.items() if k != "result"}
            for t in self.tasks_by_workflow.get(workflow_id, [])
        ]

    def get_task(self, task_id: str) -> dict[str, Any] | None:
        self.asked("get_task", task_id)
        if task_id in self.task_executions:
            return dict(self.task_executions[task_id])
        every = (task for tasks in self.tasks_by_workflow.values() for task in tasks)
        return next((task for task in every if task["id"] == task_id), None)

    def task_summary(self, task_id: str) -> dict[str, Any] | None:
        self.asked("task_summary", task_id)
        every = (task for tasks in self.tasks_by_workflow.values() for task in tasks)
        found = next((task for task in every if task["id"] == task_id), None)
        return {k: v for k, v in found.items() if k != "result"} if found else None

    def sub_executions(self, task_id: str) -> list[dict[str, Any]]:
        self.asked("sub_executions", task_id)
        below = self.workflows.values()
        return [{"id": w["id"], "state": w["state"]} for w in below if w.get("task") == task_id]

    def attempts(self, task_id: str, state: str | None = None) -> list[dict[str, Any]]:
        self.asked("attempts", task_id, state)
        rows = [row for row in self.actions.values() if row["task_execution_id"] == task_id]
        rows = [*self.actions_by_task.get(task_id, []), *rows]
        return [dict(row) for row in rows if state in (None, row["state"])]

    def add_native(self, name: str) -> None:
        self.native.add(name)
        self.definitions[name] = native.definition(name)

    def add_action(self, *actions: dict[str, Any]) -> None:
        self.actions.update((action["id"], action) for action in actions)

    def add_task(self, *tasks: dict[str, Any]) -> None:
        self.task_executions.update((task["id"], task) for task in tasks)

    def running_actions(self) -> Iterator[dict[str, Any]]:
        self.asked("running_actions")
        yield from (row for row in self.actions.values() if row.get("state") == states.RUNNING)

    def find_action(self, action_id: str) -> dict[str, Any] | None:
        self.asked("find_action", action_id)
        found = self.actions.get(action_id)
        return dict(found) if found else None

    def get_action(self, action_id: str) -> dict[str, Any] | None:
        self.asked("get_action", action_id)
        found = self.actions.get(action_id)
        return {"input": {}, **found} if found else None

    def tasks_of(self, workflow_id: str, *, unfinished: bool = False) -> Iterator[dict[str, Any]]:
        self.asked("tasks_of", workflow_id, unfinished)
        for task in self.task_executions.values():
            wanted = not unfinished or task["state"] in states.TASK_UNFINISHED
            if wanted and task["workflow_execution_id"] == workflow_id:
                yield dict(task)

    def unfinished_tasks(self) -> Iterator[dict[str, Any]]:
        self.asked("unfinished_tasks")
        yield from (t for t in self.task_executions.values() if t["state"] in states.TASK_ACTIVE)

    def complete_action(self, action_id: str, state: str, output: Mapping[str, Any]) -> bool:
        self.completed.append((action_id, state, output))
        self.asked("complete_action", action_id, state, output)
        action = self.actions.get(action_id)
        if action is None or action["state"] in states.MISTRAL_FINAL:
            return False
        action["state"] = state
        return True

    def clock(self) -> datetime | None:
        self.asked("clock")
        return self.time

    def definition(self, name: str, kind: str = "workbook") -> str | None:
        self.asked("definition", name, kind)
        return self.definitions.get(name)

    def action_definition(self, name: str) -> str | None:
        self.asked("action_definition", name)
        return self.definitions.get(name)

    def action(self, name: str) -> dict[str, Any] | None:
        self.asked("action", name)
        text = self.definitions.get(name)
        is_native = name in self.native
        return {"id": name if is_native else "uuid", "name": name, "definition": text} if text else None

    def knows_action(self, name: str) -> bool:
        """Know the actions of Mistral itself, and the ad-hoc actions."""
        self.asked("knows_action", name)
        return name.startswith("std.") or name in self.definitions


class Project:
    """The stand-in with a token for one project: by their ids it shows the records of that one only.

    Completed actions and changed workflows are noted with the project of the token.
    """

    def __init__(self, mistral: Mistral, project_id: str, changes: list[tuple[str, str]]) -> None:
        self._mistral = mistral
        self._project_id = project_id
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mistral, name)

    def _is_shown(self, id_: str) -> bool:
        rows = (self._mistral.actions.get(id_), self._mistral.workflows.get(id_))
        return any(row is not None and owner_of(row) == self._project_id for row in rows)

    def find_action(self, action_id: str) -> dict[str, Any] | None:
        found = self._mistral.find_action(action_id)
        return found if self._is_shown(action_id) else None

    def get_execution(self, execution_id: str) -> dict[str, Any] | None:
        found = self._mistral.get_execution(execution_id)
        return found if self._is_shown(execution_id) else None

    def execution_state(self, execution_id: str) -> str | None:
        found = self._mistral.execution_state(execution_id)
        return found if self._is_shown(execution_id) else None

    def complete_action(self, action_id: str, state: str, output: Mapping[str, Any]) -> bool:
        self._changes.append((self._project_id, action_id))
        return self._is_shown(action_id) and self._mistral.complete_action(action_id, state, output)

    def change_state(self, execution_id: str, state: str) -> dict[str, Any]:
        self._changes.append((self._project_id, execution_id))
        if not self._is_shown(execution_id):
            raise Answered("PUT", "x", 404, "no")
        return self._mistral.change_state(execution_id, state)

    def resume(self, execution_id: str) -> dict[str, Any]:
        return self.change_state(execution_id, states.RUNNING)


class Lister(Project):
    """The stand-in with the configured token, or without authentication.

    With authentication it is an administrator's. That lists the records of all projects, and must
    change nothing. By their ids Mistral 20 shows it the tasks and actions of its own project only.
    """

    authenticated = False
    old = False
    """True: it is Mistral 20."""
    admin = True

    def _is_shown(self, id_: str) -> bool:
        if not self.admin:
            return super()._is_shown(id_)
        return not self.old or id_ in self._mistral.workflows or super()._is_shown(id_)

    def get_task(self, task_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._mistral.get_task(task_id)
        return None if self.old else found

    def action_definition(self, name: str) -> str | None:
        return None if self.old else self._mistral.action_definition(name)

    def knows_action(self, name: str) -> bool:
        return name.startswith("std.") if self.old else self._mistral.knows_action(name)

    def complete_action(self, action_id: str, state: str, output: Mapping[str, Any]) -> bool:
        assert not self.authenticated, "an administrator must not complete an action"
        return super().complete_action(action_id, state, output)

    def change_state(self, execution_id: str, state: str) -> dict[str, Any]:
        assert not self.authenticated, "an administrator must not change a workflow"
        return super().change_state(execution_id, state)


class Clients(Recorded):
    """Stands in for ``ProjectClients``. Mistral has no authentication until :meth:`authenticate`."""

    def __init__(self, mistral: Mistral) -> None:
        super().__init__()
        self._mistral = mistral
        self.changes: list[tuple[str, str]] = []
        """For each change: the project of the token, and the record."""
        self.lister: Any = Lister(mistral, "service", self.changes)
        self.uses_trusts = False
        self.roles: set[str] = set()
        """Projects on which the relay's user has a role."""
        self.trusts: dict[str, str] = {}
        """The project of each trust."""
        self._by_project: dict[str, Project] = {}

    def authenticate(
        self,
        *roles: str,
        trusts: Mapping[str, str] | None = None,
        old: bool = False,
        admin: bool = True,
    ) -> None:
        """Let Mistral have authentication. The relay is an administrator in ``service``.

        :param roles: projects on which it has a role besides.
        :param old: Mistral 20.
        :param admin: False: it is a plain member of ``service``.
        """
        self.roles |= set(roles)
        if trusts is not None:
            self.trusts, self.uses_trusts = dict(trusts), True
        self._mistral.token = Scope("service", is_admin=admin)
        self.lister.authenticated, self.lister.old, self.lister.admin = True, old, admin

    def scope(self) -> Scope | None:
        return self._mistral.scope()

    def access(self, project_id: str | None, trust_id: str | None = None) -> Any:
        if self.scope() is None:
            return self.lister
        self.asked("access", project_id, trust_id)
        if project_id is None or not (
            project_id in self.roles or (trust_id and self.trusts.get(trust_id) == project_id)
        ):
            return no_access(project_id)
        new = Project(self._mistral, project_id, self.changes)
        return self._by_project.setdefault(project_id, new)


def no_access(project_id: str | None) -> NoAccess:
    """Return what :class:`Clients` returns for a project without a role."""
    return NoAccess(project_id, f"it belongs to {project_id}", "Give it a role.")


class Systems:
    """Both systems, with one parent and its workflow if wanted."""

    def __init__(self, *executions: dict[str, Any], workflows: Collection[dict[str, Any]] = ()) -> None:
        self.st2 = St2()
        self.mistral = Mistral()
        self.clients = Clients(self.mistral)
        self.st2.add(*executions)
        self.mistral.add(*workflows)


def parent(
    id_: str = PARENT, workflow: str = WORKFLOW, status: str = "running", site: str = SITE, **given: Any
) -> dict[str, Any]:
    """Return an execution that names its workflow."""
    context = WorkflowRef(site, workflow, "n").as_context({})
    return {"id": id_, "status": status, "context": context, "runner": {"name": "mistral-v2"}, **given}


def workflow(
    id_: str = WORKFLOW, parent_id: str = PARENT, state: str = states.RUNNING, **given: Any
) -> dict[str, Any]:
    """Return a workflow execution that was started for a parent."""
    return {
        "id": id_,
        "state": state,
        "workflow_name": "n",
        "description": f"StackStorm execution {parent_id}",
        "root_execution_id": None,
        "params": "{}",
        "output": "{}",
        "created_at": "2026-11-23 04:16:07",
        **given,
    }


def child(
    id_: str = "c", parent_id: str = PARENT, status: str = "running", site: str = SITE, **ids: Any
) -> dict[str, Any]:
    """Return an execution that was created for an action."""
    mistral = {"site": site, "action_execution_id": f"action-of-{id_}", **ids}
    context = {"parent": {"execution_id": parent_id}, "mistral": mistral}
    return {"id": id_, "status": status, "context": context}


def action(
    id_: str = "a", task: str | None = "t", state: str = states.RUNNING, **given: Any
) -> dict[str, Any]:
    """Return an action execution without input and output, as a listing shows it."""
    return {
        "id": id_,
        "name": "st2.action",
        "state": state,
        "created_at": "2026-11-23 04:16:07",
        "task_execution_id": task,
        **given,
    }


def task(
    id_: str = "t", workflow: str = TASK_WORKFLOW, state: str = states.RUNNING, *, items: bool = False
) -> dict[str, Any]:
    """Return a task execution without its result, as a listing shows it."""
    return {
        "id": id_,
        "state": state,
        "workflow_execution_id": workflow,
        "workflow_name": "n",
        "runtime_context": {"with_items": {"count": 2}} if items else {},
    }


def child_of(
    action_id: str = "a",
    status: str = "running",
    *,
    id_: str | None = None,
    task: str | None = "t",
    workflow: str | None = TASK_WORKFLOW,
    project: str | None = None,
    trust: str | None = None,
    key: str | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Return an execution that was created for an action; with a result if it is final.

    :param key: signs its ids.
    """
    ids = {
        "site": SITE,
        "action_execution_id": action_id,
        "task_execution_id": task,
        "workflow_execution_id": workflow,
        **({"project_id": project} if project else {}),
        **({"trust_id": trust} if trust else {}),
    }
    ids = sign_ids(ids, key) if key else ids
    found = {"id": id_ or f"child-of-{action_id}", "status": status, "context": {"mistral": ids}}
    return {**found, **({"result": {}} if status in states.ST2_FINAL else {}), **given}
