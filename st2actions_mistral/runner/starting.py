"""Start a workflow for a StackStorm execution, or re-run tasks of one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
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
from st2actions_mistral.model import states
from st2actions_mistral.model.links import DESCRIPTION, WorkflowRef, workflow_execution_id
from st2actions_mistral.model.mistral_fields import decoded, has_items
from st2actions_mistral.model.project import project_of
from st2actions_mistral.model.result import OUTPUT_LAYOUT, ST2MISTRAL_LAYOUT, truncate
from st2actions_mistral.model.tracebacks import without_tracebacks
from st2actions_mistral.runner import checks, rerun, targets
from st2actions_mistral.runner.environment import environment, is_from_us, names_parent
from st2actions_mistral.runner.request import Rerun, WorkflowRequest

LOG: Final = logging.getLogger(__name__)


class StartUnknown(OutcomeUnknown):
    """Mistral may have started a workflow, or re-run a task."""


@dataclass(frozen=True)
class Started:
    """A workflow that runs for a StackStorm execution."""

    workflow: WorkflowRef

    def result(self) -> dict[str, Any]:
        """Return the preliminary result of the execution. StackStorm requires one that is not empty."""
        return {"mistral": self._ids()}

    def _ids(self) -> dict[str, str]:
        return {
            "site": self.workflow.site,
            "workflow_execution_id": self.workflow.execution_id,
            "workflow_name": self.workflow.workflow_name,
        }


def failure(error: St2MistralError, execution_id: str, layout: str = OUTPUT_LAYOUT) -> dict[str, Any]:
    """Return the result of an execution whose workflow did not start.

    :param execution_id: the StackStorm execution.
    :param layout: see ``model.result.laid_out``.
    :return: as ``errors.as_result`` makes it; with ``extra.state`` and ``extra.state_info`` in the
        layout of StackStorm 3.2. If the outcome of the start is unknown, ``mistral.start`` is
        ``"unknown"``, and the relay cancels a workflow that may have started.
    """
    result: dict[str, Any] = without_tracebacks(as_result(error))
    if isinstance(error, StartUnknown):
        ids = {"workflow_execution_id": workflow_execution_id(execution_id), "start": "unknown"}
        result["mistral"] = ids
    if layout == ST2MISTRAL_LAYOUT:
        result["extra"] = {"state": states.ERROR, "state_info": truncate(result["error"])}
    return result


class Starter:
    """Start workflows in one Mistral. Safe to share between threads.

    :param site: the name of this Mistral, see ``[st2] site``.
    :param api_url: the URL under which Mistral reaches StackStorm; None: the one in Mistral's options.
    :param public_api_url: the URL for the workflow's expressions if ``api_url`` is None.
    :param context_key: signs the contexts, see ``[st2] context_key``.
    :param functions: the expression functions that plugins of Mistral bring.
    """

    def __init__(
        self,
        mistral: MistralClient,
        catalogue: Catalogue,
        *,
        site: str,
        api_url: str | None = None,
        public_api_url: str | None = None,
        context_key: str | None = None,
        functions: Collection[str] = (),
    ) -> None:
        self._mistral = mistral
        self._catalogue = catalogue
        self._site = site
        self._api_url = api_url
        self._public_api_url = public_api_url
        self._context_key = context_key
        self._functions = functions

    def start(self, request: WorkflowRequest) -> Started:
        """Publish the definition if it has changed, and start its workflow; or re-run tasks.

        Starting is safe to repeat: the id of the workflow execution is made from the id of the
        StackStorm execution.

        :raises InputError: the request is invalid, or another workflow has the id. Nothing was started.
        :raises StartUnknown: the outcome is unknown.
        :raises RemoteError: Mistral cannot be reached, or rejected the request. Nothing was started.
        """
        if request.rerun:
            return self._rerun(request, request.rerun)
        try:
            text = request.entry_point.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise InputError(
                "entry_point", f"{request.entry_point} cannot be read: {reason}."
            ) from error
        ready = checks.check(request, text, self._catalogue, self._functions)
        self._publish(ready.definition, text)
        try:
            started = self._start(request, ready)
        except Answered as error:
            if error.status != 404:
                raise
            # The workbook exists, but its workflow was removed.
            self._mistral.save_definition(ready.definition.text, ready.definition.kind.value)
            started = self._start(request, ready)
        return self._started(started, ready.workflow)

    def _start(self, request: WorkflowRequest, ready: checks.Ready) -> dict[str, Any]:
        """Start the workflow.

        :raises InputError: another workflow has the id.
        """
        id_ = workflow_execution_id(request.execution_id)
        with _start_may_be_unknown():
            started = self._mistral.start_workflow(
                ready.workflow,
                ready.inputs,
                execution_id=id_,
                env=self._environment(request, id_),
                description=_description(request),
                task_name=ready.task_name,
            )
        # Mistral returns any workflow with this id, and whoever knows the execution can create one.
        if not self._is_ours(started, id_, request, ready):
            raise InputError(
                f"workflow execution {id_}",
                f"Mistral has the workflow {started.get('workflow_name')!r:.100} under this id, which"
                " this execution did not start. It stays unchanged. Run the action again (a new"
                " execution has another id), and find out who started that workflow.",
            )
        return started

    def _is_ours(
        self, started: Mapping[str, Any], id_: str, request: WorkflowRequest, ready: checks.Ready
    ) -> bool:
        """Return True if this start, or an earlier attempt of it, created the workflow execution.

        Without ``context_key``, anybody can forge what is compared here.
        """
        expected = (ready.workflow, _description(request))
        if (started.get("workflow_name"), started.get("description")) != expected:
            return False
        params = decoded(started.get("params"))
        env = params.get("env") if isinstance(params, Mapping) else None
        return self._context_key is None or is_from_us(env, id_, self._context_key)

    def _publish(self, definition: Definition, text: str) -> None:
        # Checked first because Mistral needs a second or two to validate a workbook. If a workbook
        # became a workflow, or the other way round, the old one stays for its running executions.
        kind = definition.kind.value
        if self._is_published(definition):
            return
        try:
            # The original text too: Mistral validates the inputs of a task, but not the parameters
            # nested in them.
            reason = self._mistral.validate(text, kind) if definition.text != text else None
            if reason is None:
                self._mistral.save_definition(definition.text, kind)
        except Answered as error:
            if error.status != 400:
                raise
            reason = error.message
        except OutcomeUnknown as error:
            if error.status != 500:
                raise
            # Saving was retried already.
            reason = "it answers 500: the definition is invalid, or Mistral failed; see its log."
        if reason is not None:
            raise InputError(definition.name, f"Mistral rejects it: {summarize(reason, text)}")
        LOG.info("Published the %s %s.", kind, definition.name)

    def _is_published(self, definition: Definition) -> bool:
        kind = definition.kind
        if self._mistral.definition(definition.name, kind.value) != definition.text:
            return False
        if kind is Kind.WORKFLOW:
            return True
        # A workflow of the workbook may have been removed or replaced since.
        saved = self._mistral.workflow_definitions(definition.workflows)
        return all(name in saved and not is_own_file(saved[name]) for name in definition.workflows)

    def _rerun(self, request: WorkflowRequest, again: Rerun) -> Started:
        id_ = again.workflow_execution_id
        execution = self._mistral.get_execution(id_)
        if execution is None:
            raise InputError("rerun_tasks", f"Mistral no longer knows the workflow execution {id_}.")
        rerun.check_workflow(request, again, execution)
        found = targets.find_targets(self._mistral, again)
        resets = {t.path: t.path in again.reset or not has_items(t.task) for t in found}
        for target in found:
            if not resets[target.path]:
                self._check_items(target.path, target.task["id"])
        # Mistral takes an environment only for a workflow that does not run. So those of the
        # sub-workflows come first.
        for sub_id in dict.fromkeys(sub_id for target in found for sub_id in target.below):
            self._update_environment(request, sub_id, id_)
        env: dict[str, Any] | None = self._environment(request, id_, _env_of(execution))
        is_first = True
        for target in found:
            try:
                with _start_may_be_unknown():
                    if is_first and target.below:
                        self._mistral.update_environment(id_, env or {})
                        env = None
                    self._mistral.rerun_task(target.task["id"], reset=resets[target.path], env=env)
            except RemoteError as error:
                if is_first:
                    raise
                # The workflow runs for this execution, which gets its result and its tasks.
                LOG.warning(
                    "Task %s of workflow execution %s is not re-run: %s",
                    target.path,
                    id_,
                    error.log_text(),
                )
            # The workflow is RUNNING now.
            is_first, env = False, None
        return self._started(execution, str(execution["workflow_name"]))

    def _update_environment(self, request: WorkflowRequest, sub_id: str, id_: str) -> None:
        """Let a sub-workflow run for the execution of a re-run, if it has a parent."""
        before = _env_of(self._mistral.get_execution(sub_id) or {})
        if names_parent(before):
            self._mistral.update_environment(sub_id, self._environment(request, id_, before))

    def _check_items(self, name: str, task_id: str) -> None:
        """Check that failed items can be re-run, see :func:`rerun.check_items`."""
        task = self._mistral.get_task(task_id) or {}
        had = [*self._mistral.attempts(task_id), *self._mistral.sub_executions(task_id)]
        rerun.check_items(name, decoded(task.get("result")), {row["state"] for row in had})

    def _environment(self, request: WorkflowRequest, id_: str, before: object = None) -> dict[str, Any]:
        scope = self._mistral.scope()
        return environment(
            request,
            id_,
            api_url=self._api_url,
            public_api_url=self._public_api_url,
            context_key=self._context_key,
            project_id=scope.project_id if scope else None,
            before=before,
        )

    def _started(self, execution: Mapping[str, Any], workflow: str) -> Started:
        return Started(WorkflowRef(self._site, execution["id"], workflow, project_of(execution)))


@contextmanager
def _start_may_be_unknown() -> Iterator[None]:
    try:
        yield
    except OutcomeUnknown as error:
        raise StartUnknown.of(error) from error


def _env_of(execution: Mapping[str, Any]) -> object:
    params = decoded(execution.get("params"))
    return params.get("env") if isinstance(params, Mapping) else None


def _description(request: WorkflowRequest) -> str:
    return f"{DESCRIPTION}{request.execution_id}"
