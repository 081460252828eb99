"""Read what a workflow did, for the result of its parent."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, Final

from st2actions_mistral.bridge.definitions import base_of, required_tasks
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import report
from st2actions_mistral.model.links import WorkflowRef, reports_to, started_for
from st2actions_mistral.model.mistral_fields import decoded
from st2actions_mistral.model.records import ACTION_NAME, action_of, created_at

LOG: Final = logging.getLogger(__name__)

# Rows read from one listing of a workflow's children.
_MOST_CHILDREN: Final = 10_000

# Tasks read at once: five tasks take 45 ms instead of 65 (sandbox, 2 cores).
_AT_ONCE: Final = 3

_TOO_LARGE: Final = "(too large to be fetched from Mistral)"


class Reporter:
    """Reads the reports of workflows. Safe to share between threads."""

    def __init__(self, st2: St2Client, site: str, keys: Sequence[str] = ()) -> None:
        self._st2 = st2
        self._site = site
        self._keys = keys

    def report(self, workflow: Mapping[str, Any], mistral: MistralClient) -> dict[str, Any]:
        """Return the result of the parent of a workflow that has ended, see ``model.report``.

        :param workflow: the execution as Mistral's API shows it, with ``output``.
        :param mistral: sees the records of the workflow.
        :raises RemoteError: one of the systems did not answer.
        """
        ref = WorkflowRef(self._site, workflow["id"], str(workflow.get("workflow_name") or ""))
        listed = report.in_order(mistral.tasks(workflow["id"]), _required(workflow, mistral))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="report") as pool:
            tasks = list(pool.map(partial(_task, mistral), listed[: report.MAX_TASKS]))
        children = self._children(workflow, tasks, mistral)
        shown = []
        for task in tasks:
            calls_workflow = task.get("type") == "WORKFLOW"
            rows = mistral.sub_executions(task["id"]) if calls_workflow else []
            started = [row["id"] for row in rows]
            shown.append(report.Task(task, started, children.get(task["id"], ())))
        return report.workflow_report(workflow, shown, ref, omitted=len(listed) - len(shown))

    def _children(
        self,
        workflow: Mapping[str, Any],
        tasks: Collection[Mapping[str, Any]],
        mistral: MistralClient,
    ) -> dict[str, list[str]]:
        """Return the child executions of the tasks whose results do not name them.

        :return: by task, the oldest first.
        """
        task_of = _unnamed(tasks, mistral)
        if not task_of:
            return {}
        first: dict[str, str] = {}
        try:
            for child in islice(self._listed_for(workflow), _MOST_CHILDREN):
                action_id = action_of(child, self._site, self._keys)
                if action_id in task_of:
                    first.setdefault(action_id, child["id"])
        except (Answered, OutcomeUnknown) as error:
            # The parent must be finished, with or without the ids of these children.
            LOG.warning(
                "The result of workflow execution %s lacks the ids of some child executions: %s",
                workflow["id"],
                error.log_text(),
            )
        children: dict[str, list[str]] = {}
        for action_id, child_id in first.items():
            children.setdefault(task_of[action_id], []).append(child_id)
        return children

    def _listed_for(self, workflow: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        parent = reports_to(workflow)
        if parent is not None and parent == started_for(workflow):
            return self._st2.children_of(workflow["id"], below=parent)
        # After a re-run the children are below several executions.
        return self._st2.children_of(workflow["id"], since=created_at(workflow))


def _required(workflow: Mapping[str, Any], mistral: MistralClient) -> Mapping[str, Collection[str]]:
    """Return the tasks that each task of a reverse workflow requires, by name."""
    params = decoded(workflow.get("params"))
    # Only a reverse workflow is started with the name of a task.
    if not isinstance(params, Mapping) or not params.get("task_name"):
        return {}
    return required_tasks(mistral, str(workflow.get("workflow_name") or ""))


def _unnamed(tasks: Collection[Mapping[str, Any]], mistral: MistralClient) -> dict[str, str]:
    """Return the ``st2.action`` executions whose children are missing in the results.

    :return: the task of each action execution.
    """
    task_of: dict[str, str] = {}
    bases: dict[str, str] = {}
    for task in tasks:
        if not report.lacks_children(task):
            continue
        for action in mistral.attempts(task["id"]):
            name = str(action["name"])
            if name not in bases:
                usual = name == ACTION_NAME
                bases[name] = name if usual else base_of(mistral, name)
            if bases[name] == ACTION_NAME:
                task_of[action["id"]] = task["id"]
    return task_of


def _task(mistral: MistralClient, listed: Mapping[str, Any]) -> Mapping[str, Any]:
    id_ = listed["id"]
    try:
        return mistral.get_task(id_) or listed
    except OutcomeUnknown as error:
        if error.status is not None:
            raise
        # The result may be too large to read: a task has the results of all its items together.
        task = mistral.task_summary(id_)
        return {**task, "result": json.dumps(_TOO_LARGE)} if task else listed
