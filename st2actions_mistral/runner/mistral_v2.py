"""Adapt the runner to StackStorm, which loads this module.

It is the only module that imports StackStorm. The work is done in the modules beside it.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Any, Optional

from oslo_config import cfg
from st2common.constants.action import (
    LIVEACTION_COMPLETED_STATES,
    LIVEACTION_STATUS_CANCELED,
    LIVEACTION_STATUS_FAILED,
    LIVEACTION_STATUS_RUNNING,
)
from st2common.models.api.notification import NotificationsHelper
from st2common.runners.base import AsyncActionRunner
from st2common.util import action_db
from st2common.util.api import get_full_public_api_url

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import InputError, St2MistralError
from st2actions_mistral.model.links import workflow_of
from st2actions_mistral.model.st2_action import St2Action
from st2actions_mistral.runner import control, options
from st2actions_mistral.runner.catalogue import ActionCatalogue
from st2actions_mistral.runner.metadata import metadata
from st2actions_mistral.runner.request import parse_request
from st2actions_mistral.runner.starting import Starter, failure

Outcome = tuple[str, Optional[dict[str, Any]], Optional[dict[str, Any]]]


class MistralRunner(AsyncActionRunner):  # type: ignore[misc]
    """Run one action."""

    def run(self, action_parameters: dict[str, Any]) -> Outcome:
        """Start the workflow. The relay, or ``st2.callback``, finishes the execution.

        :return: status, result and context of the execution.
        """
        try:
            settings = options.runner_settings(_configuration())
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
            with contextlib.closing(_mistral(settings)) as mistral:
                starter = Starter(
                    mistral,
                    ActionCatalogue(action_of, mistral),
                    site=settings.site,
                    api_url=settings.api_url,
                    public_api_url=get_full_public_api_url(),
                    context_key=settings.context_key,
                )
                started = starter.start(request)
        except St2MistralError as error:
            return LIVEACTION_STATUS_FAILED, failure(error, self.execution_id), None
        context = started.workflow.as_context(self.context)
        # The workflow may have finished, or been cancelled, before this method returns. StackStorm
        # would overwrite that with the values returned here.
        now = action_db.get_liveaction_by_id(self.liveaction_id)
        if now.status in LIVEACTION_COMPLETED_STATES:
            return now.status, now.result, context
        if now.status != LIVEACTION_STATUS_RUNNING:
            return now.status, now.result or started.result(), context
        return LIVEACTION_STATUS_RUNNING, started.result(), context

    def cancel(self) -> Outcome:
        """Cancel the workflow.

        If it raises, StackStorm leaves the execution "canceling", and the relay cancels the workflow.
        """
        settings = options.runner_settings(_configuration())
        with contextlib.closing(_mistral(settings)) as mistral:
            control.cancel_for(mistral, self.execution_id, self.context)
        return LIVEACTION_STATUS_CANCELED, self.liveaction.result, self.liveaction.context


def get_runner() -> MistralRunner:
    """Return a runner. StackStorm calls this for each run."""
    return MistralRunner(str(uuid.uuid4()))


def get_metadata() -> dict[str, Any]:
    """Return the definition of the runner type. StackStorm calls this to register it."""
    return metadata()


def _configuration() -> cfg.ConfigOpts:
    options.register_opts(cfg.CONF)
    return cfg.CONF


def _mistral(settings: options.RunnerSettings) -> MistralClient:
    credential = options.credential(cfg.CONF, settings.mistral)
    return MistralClient(settings.mistral, credential=credential)


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
