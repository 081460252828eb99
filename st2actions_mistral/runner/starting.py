"""From a StackStorm execution to a running workflow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.dsl.calls import Catalogue
from st2actions_mistral.dsl.definition import Definition, Kind
from st2actions_mistral.dsl.messages import summarize
from st2actions_mistral.dsl.stored import is_own_file
from st2actions_mistral.errors import (
    Answered,
    InputError,
    OutcomeUnknown,
    RemoteError,
    St2MistralError,
    as_result,
)
from st2actions_mistral.model.workflow import (
    DESCRIPTION,
    WorkflowRef,
    decoded,
    has_items,
    workflow_execution_id,
)
from st2actions_mistral.runner import checks, rerun
from st2actions_mistral.runner.environment import environment, is_from_us
from st2actions_mistral.runner.request import Request, Rerun

LOG: Final = logging.getLogger(__name__)


class StartUnknown(OutcomeUnknown):
    """Mistral may have started a workflow, or run a task again."""


@dataclass(frozen=True)
class Started:
    """A workflow that runs for a StackStorm execution."""

    workflow: WorkflowRef

    def result(self) -> dict[str, Any]:
        """What the execution has as its result meanwhile: StackStorm wants one that is not empty."""
        return {"mistral": self._ids()}

    def _ids(self) -> dict[str, str]:
        return {
            "site": self.workflow.site,
            "workflow_execution_id": self.workflow.execution_id,
            "workflow_name": self.workflow.workflow_name,
        }


def failure(error: St2MistralError, request_id: str) -> dict[str, Any]:
    """The result of an execution whose workflow did not start.

    :param request_id: of the StackStorm execution.
    :return: ``{"error"}``, with ``status`` and ``message`` where Mistral said no. Where it cannot be
        known whether Mistral took the start, ``mistral.start`` is ``"unknown"``: the relay then cancels
        what may have begun.
    """
    result = as_result(error)
    if isinstance(error, StartUnknown):
        ids = {"workflow_execution_id": workflow_execution_id(request_id), "start": "unknown"}
        result["mistral"] = ids
    return result


class Starter:
    """Starts workflows in one Mistral. Safe to share between threads.

    :param site: marks this Mistral, see ``[st2] site``.
    :param api_url: how Mistral reaches StackStorm; None: as its own options say.
    :param context_key: signs the contexts, see ``[st2] context_key``.
    """

    def __init__(
        self,
        mistral: MistralClient,
        catalogue: Catalogue,
        *,
        site: str,
        api_url: str | None = None,
        context_key: str | None = None,
    ) -> None:
        self._mistral = mistral
        self._catalogue = catalogue
        self._site = site
        self._api_url = api_url
        self._context_key = context_key

    def start(self, request: Request) -> Started:
        """Publish the definition where it has changed, and start its workflow, or run tasks of an
        earlier one again. Starting is safe to repeat: the id of the StackStorm execution makes the one
        of the workflow execution.

        :raises InputError: something given cannot be used, or the id is taken; nothing was started.
        :raises StartUnknown: Mistral may have begun.
        :raises RemoteError: Mistral cannot be reached, or says no; nothing was started.
        """
        if request.rerun:
            return self._rerun(request, request.rerun)
        try:
            text = request.entry_point.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            said = f"{request.entry_point} cannot be read: {reason}."
            raise InputError("entry_point", said) from error
        ready = checks.check(request, text, self._catalogue)
        self._publish(ready.definition, text)
        try:
            started = self._begin(request, ready)
        except Answered as error:
            if error.status != 404:
                raise
            # The workbook is there, but somebody has removed its workflow.
            self._mistral.save_definition(ready.definition.text, ready.definition.kind.value)
            started = self._begin(request, ready)
        return self._started(started["id"], ready.workflow)

    def _begin(self, request: Request, ready: checks.Ready) -> dict[str, Any]:
        """:raises InputError: another workflow has the id."""
        id_ = workflow_execution_id(request.execution_id)
        with _may_have_begun():
            started = self._mistral.start_workflow(
                ready.workflow,
                ready.inputs,
                execution_id=id_,
                env=self._environment(request, id_),
                description=_description(request),
                task_name=ready.task_name,
            )
        # Mistral answers with whatever has the id, and whoever knows of the execution can make it.
        if not self._is_ours(started, id_, request, ready):
            raise InputError(
                f"workflow execution {id_}",
                f"Mistral has the workflow {started.get('workflow_name')!r:.100} under this id,"
                " which was not started by this execution: it is left as it is. Run the action again"
                " (a new execution has another id), and find out who started that one.",
            )
        return started

    def _is_ours(
        self, started: Mapping[str, Any], id_: str, request: Request, ready: checks.Ready
    ) -> bool:
        """Whether it is what this start, or an earlier try of it, began. Without a key, only what
        everybody may write tells."""
        expected = (ready.workflow, _description(request))
        if (started.get("workflow_name"), started.get("description")) != expected:
            return False
        params = decoded(started.get("params"))
        env = params.get("env") if isinstance(params, Mapping) else None
        return self._context_key is None or is_from_us(env, id_, self._context_key)

    def _publish(self, definition: Definition, text: str) -> None:
        # Mistral takes a second or two to check a workbook. What was a workbook before and is a
        # workflow now (or the other way) leaves the old one behind, for what still runs it.
        kind = definition.kind.value
        if self._is_published(definition):
            return
        try:
            # Mistral looks into the inputs of a task, but not into the parameters within them.
            refused = self._mistral.validate(text, kind) if definition.text != text else None
            if refused is None:
                self._mistral.save_definition(definition.text, kind)
        except Answered as error:
            if error.status != 400:
                raise
            refused = error.message
        except OutcomeUnknown as error:
            if error.status != 500:
                raise
            # Saving is safe to repeat, and it has been.
            refused = "it answers 500: it can make nothing of this text, or is in trouble; see its log."
        if refused is not None:
            raise InputError(definition.name, f"Mistral refuses it: {summarize(refused, text)}")
        LOG.info("The %s %s is published.", kind, definition.name)

    def _is_published(self, definition: Definition) -> bool:
        kind = definition.kind
        if self._mistral.definition(definition.name, kind.value) != definition.text:
            return False
        if kind is Kind.WORKFLOW:
            return True
        # Somebody may have removed a workflow of the workbook, or saved another one in its place.
        there = self._mistral.workflow_definitions(definition.workflows)
        return all(name in there and not is_own_file(there[name]) for name in definition.workflows)

    def _rerun(self, request: Request, again: Rerun) -> Started:
        id_ = again.workflow_execution_id
        execution = self._mistral.get_execution(id_)
        if execution is None:
            raise InputError("tasks", f"Mistral does not know the workflow execution {id_} any more.")
        rerun.check_workflow(request, again, execution)
        tasks = {task["name"]: task for task in self._mistral.tasks(id_)}
        rerun.check_tasks(again, tasks)
        for name in rerun.only_failed_items(again, tasks):
            self._check_items(name, tasks[name]["id"])
        params = decoded(execution.get("params"))
        before = params.get("env") if isinstance(params, Mapping) else None
        env: dict[str, Any] | None = self._environment(request, id_, before)
        for name in again.tasks:
            reset = name in again.reset or not has_items(tasks[name])
            try:
                with _may_have_begun():
                    self._mistral.rerun_task(tasks[name]["id"], reset=reset, env=env)
            except RemoteError as error:
                if env is not None:
                    raise
                # The workflow is at work for this execution, which will hear of its end and its tasks.
                LOG.warning("Task %s of workflow execution %s: %s", name, id_, error.log_text())
            # Mistral takes an environment only while the workflow is not at work, which it is now.
            env = None
        return self._started(id_, str(execution["workflow_name"]))

    def _check_items(self, name: str, task_id: str) -> None:
        """:raises InputError: see :func:`rerun.check_items`."""
        task = self._mistral.get_task(task_id) or {}
        had = [*self._mistral.attempts(task_id), *self._mistral.sub_executions(task_id)]
        rerun.check_items(name, decoded(task.get("result")), {row["state"] for row in had})

    def _environment(self, request: Request, id_: str, before: object = None) -> dict[str, Any]:
        return environment(
            request, id_, api_url=self._api_url, context_key=self._context_key, before=before
        )

    def _started(self, id_: str, workflow: str) -> Started:
        return Started(WorkflowRef(self._site, id_, workflow))


@contextmanager
def _may_have_begun() -> Iterator[None]:
    try:
        yield
    except OutcomeUnknown as error:
        raise StartUnknown.of(error) from error


def _description(request: Request) -> str:
    return f"{DESCRIPTION}{request.execution_id}"
