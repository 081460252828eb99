"""Adapt the runner to StackStorm, which loads this module.

It is the only module that imports StackStorm. The work is done in the modules beside it.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Optional

from oslo_config import cfg
from st2common.constants import action as action_constants
from st2common.constants.action import (
    LIVEACTION_COMPLETED_STATES,
    LIVEACTION_STATUS_CANCELED,
    LIVEACTION_STATUS_CANCELING,
    LIVEACTION_STATUS_FAILED,
    LIVEACTION_STATUS_PAUSED,
    LIVEACTION_STATUS_PAUSING,
    LIVEACTION_STATUS_RESUMING,
    LIVEACTION_STATUS_RUNNING,
)
from st2common.models.api.notification import NotificationsHelper
from st2common.persistence.execution import ActionExecution
from st2common.persistence.liveaction import LiveAction
from st2common.runners.base import AsyncActionRunner
from st2common.services import access
from st2common.services import action as action_service
from st2common.util import action_db
from st2common.util.api import get_full_public_api_url

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import ConfigError, InputError, St2MistralError
from st2actions_mistral.model.links import RUNNER, workflow_of
from st2actions_mistral.model.result import OUTPUT_LAYOUT
from st2actions_mistral.model.st2_action import St2Action
from st2actions_mistral.runner import control, options
from st2actions_mistral.runner.catalogue import ActionCatalogue
from st2actions_mistral.runner.metadata import metadata
from st2actions_mistral.runner.request import parse_request
from st2actions_mistral.runner.starting import Starter, failure

LOG: Final = logging.getLogger(__name__)

# Seconds that a token lives longer than the requests that it is for.
_TOKEN_MARGIN: Final = 60

Outcome = tuple[str, Optional[dict[str, Any]], Optional[dict[str, Any]]]


class MistralRunner(AsyncActionRunner):  # type: ignore[misc]  # st2common has no types
    """Run one action."""

    auth_token: Any
    """The token that StackStorm makes for run(); None in the other methods."""

    def run(self, action_parameters: dict[str, Any]) -> Outcome:
        """Start the workflow. The relay, or ``st2.callback``, finishes the execution.

        :return: status, result and context of the execution.
        """
        layout = OUTPUT_LAYOUT
        try:
            settings = options.runner_settings(_configuration())
            layout = settings.result_layout
            request = parse_request(
                self.runner_parameters or {},
                action_parameters,
                self.context or {},
                execution_id=self.execution_id,
                ref=self.action.ref,
                entry_point=_entry_point(self.entry_point),
                liveaction_id=self.liveaction_id,
                notify=_notify(self.liveaction) or _notify(self.action),
                rerun_of=workflow_of_execution(self.rerun_ex_ref),
            )
            with contextlib.closing(self._mistral(settings)) as mistral:
                starter = Starter(
                    mistral,
                    ActionCatalogue(action_of, mistral),
                    site=settings.site,
                    api_url=settings.api_url,
                    public_api_url=get_full_public_api_url(),
                    context_key=settings.context_key,
                    functions=settings.expression_functions,
                )
                started = starter.start(request)
        except St2MistralError as error:
            return LIVEACTION_STATUS_FAILED, failure(error, self.execution_id, layout), None
        context = started.workflow.as_context(self.context or {})
        # The workflow may have finished, or been cancelled, before this method returns. StackStorm
        # would overwrite that with the values returned here.
        now = action_db.get_liveaction_by_id(self.liveaction_id)
        if now.status in LIVEACTION_COMPLETED_STATES:
            return now.status, now.result, context
        if now.status != LIVEACTION_STATUS_RUNNING:
            return now.status, now.result or started.result(), context
        return LIVEACTION_STATUS_RUNNING, started.result(), context

    # The methods below return neither result nor context, which would overwrite what the relay, or
    # run(), has stored meanwhile. None of them raises for an error of Mistral: StackStorm would make
    # the execution "failed". Instead, the relay does what the status demands.

    def cancel(self) -> Outcome:
        """Cancel the workflow. The relay makes the execution "canceled" when all below it has ended."""
        found = self._change(control.cancel)
        # Without a workflow there is nothing to wait for.
        status = LIVEACTION_STATUS_CANCELED if found == set() else LIVEACTION_STATUS_CANCELING
        return status, None, None

    def pause(self) -> Outcome:
        """Pause the workflow, and the workflows below it that are executions of StackStorm.

        The relay makes the execution "paused" when nothing below it runs.
        """
        self._change(control.pause)
        self._pass_on(action_service.request_pause, LIVEACTION_STATUS_RUNNING)
        return LIVEACTION_STATUS_PAUSING, None, None

    def resume(self) -> Outcome:
        """Resume the workflow, and the workflows below it that are executions of StackStorm."""
        found = self._change(control.resume)
        self._pass_on(action_service.request_resume, LIVEACTION_STATUS_PAUSED)
        status = LIVEACTION_STATUS_RUNNING if found else LIVEACTION_STATUS_RESUMING
        return status, None, None

    def _mistral(self, settings: options.RunnerSettings) -> MistralClient:
        given = options.credential(cfg.CONF, settings.mistral, lambda: self._token(settings))
        return MistralClient(settings.mistral, credential=given)

    def _token(self, settings: options.RunnerSettings) -> str:
        """Return a token of the user of the execution, for Mistral.

        :raises ConfigError: the execution has no user.
        """
        if self.auth_token is None:
            # StackStorm makes one for run() only.
            user = (self.context or {}).get("user")
            if not user:
                raise ConfigError("[mistral] auth_type is st2, but the execution has no user.")
            timeouts = settings.mistral.timeouts
            seconds = timeouts.retry_deadline + timeouts.connect_timeout + timeouts.read_timeout
            self.auth_token = access.create_token(
                user, ttl=int(seconds) + _TOKEN_MARGIN, metadata={"service": RUNNER}, service=True
            )
        return str(self.auth_token.token)

    def _change(self, change: Callable[[MistralClient, str, object], set[str]]) -> set[str] | None:
        """Change the state of the workflow.

        :return: the states of its workflow executions; None if Mistral could not be asked.
        """
        try:
            settings = options.runner_settings(_configuration())
            with contextlib.closing(self._mistral(settings)) as mistral:
                return change(mistral, self.execution_id, self.context)
        except St2MistralError as error:
            LOG.warning(
                "Execution %s: cannot %s its workflow; the relay will do it: %s",
                self.execution_id,
                change.__name__,
                error.log_text(),
            )
            return None

    def _pass_on(self, request: Callable[[Any, Any], Any], status: str) -> None:
        """Request the same of the children with this status, as StackStorm's own runners do."""
        for child_id in self.execution.children:
            try:
                child = ActionExecution.get(id=child_id)
                if child.runner["name"] in _workflow_runners() and child.status == status:
                    request(LiveAction.get(id=child.liveaction["id"]), self.context.get("user"))
            except Exception as error:  # noqa: BLE001 - no child must keep the others from being asked
                # StackStorm rejects it, for example because the child has ended meanwhile. Other errors
                # are those of its database.
                LOG.warning("Execution %s is left as it is: %s", child_id, error)


def get_runner() -> MistralRunner:
    """Return a runner. StackStorm calls this for each run."""
    return MistralRunner(str(uuid.uuid4()))


def get_metadata() -> dict[str, Any]:
    """Return the definition of the runner type.

    All services of StackStorm that register runners call this when they start. Its modules share one
    list of workflow runners, which decides what an execution can do and what may be below it.
    """
    types = _workflow_runners()
    if not isinstance(types, list):
        LOG.warning(
            "This StackStorm has no list WORKFLOW_RUNNER_TYPES in st2common.constants.action:"
            " executions of %s cannot be paused and resumed, inquiries below them fail,"
            " and Orquesta workflows and action chains do not pass on cancel, pause and resume.",
            RUNNER,
        )
    elif RUNNER not in types:
        types.append(RUNNER)
    return metadata()


def _workflow_runners() -> Any:
    return getattr(action_constants, "WORKFLOW_RUNNER_TYPES", ())


def _configuration() -> cfg.ConfigOpts:
    options.register_opts(cfg.CONF)
    return cfg.CONF


def _notify(model: Any) -> dict[str, Any]:
    notify: dict[str, Any] = NotificationsHelper.from_model(model.notify)
    return notify


def action_of(ref: str) -> St2Action | None:
    """Return a StackStorm action; None for an unknown one."""
    found = action_db.get_action_by_ref(ref)
    if not found:
        return None
    return St2Action(action_db.get_action_parameters_specs(ref), enabled=bool(found.enabled))


def _entry_point(path: str | None) -> Path:
    if not path:
        raise InputError("entry_point", "the action has none: set it to the file with the workbook.")
    return Path(path)


def workflow_of_execution(execution: Any) -> str | None:
    """Return the id of the workflow execution that ran for an execution; None for no execution."""
    return workflow_of(execution.context, str(execution.id)) if execution is not None else None
