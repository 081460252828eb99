"""What StackStorm loads: a thin shell around the modules beside it; no other has StackStorm in it."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Any

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

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import InputError, St2MistralError
from st2actions_mistral.model.workflow import workflow_of
from st2actions_mistral.runner import control, options, request
from st2actions_mistral.runner.catalogue import Actions, Parameters
from st2actions_mistral.runner.metadata import metadata
from st2actions_mistral.runner.starting import Starter, failure

Answer = tuple[str, dict[str, Any] | None, dict[str, Any] | None]


class MistralRunner(AsyncActionRunner):  # type: ignore[misc]
    """One run of one action."""

    def run(self, action_parameters: dict[str, Any]) -> Answer:
        """Start the workflow. The relay, or ``st2.callback``, ends the execution."""
        try:
            settings = options.runner_settings(_configuration())
            asked = request.read(
                self.runner_parameters or {},
                action_parameters,
                self.context or {},
                execution_id=self.execution_id,
                ref=self.action.ref,
                entry_point=_entry_point(self.entry_point),
                notify=_notify(self.liveaction) or _notify(self.action),
                rerun_of=_workflow_of(self.rerun_ex_ref),
            )
            with contextlib.closing(_mistral(settings)) as mistral:
                starter = Starter(
                    mistral,
                    Actions(_parameters, mistral),
                    site=settings.site,
                    api_url=settings.api_url,
                    context_key=settings.context_key,
                )
                started = starter.start(asked)
        except St2MistralError as error:
            return LIVEACTION_STATUS_FAILED, failure(error, self.execution_id), None
        context = started.workflow.as_context()
        # A workflow may be quicker than we are. What StackStorm does with our answer would take the
        # place of what was said meanwhile.
        now = action_db.get_liveaction_by_id(self.liveaction_id)
        if now.status in LIVEACTION_COMPLETED_STATES:
            return now.status, now.result, context
        if now.status != LIVEACTION_STATUS_RUNNING:
            return now.status, now.result or started.result(), context
        return LIVEACTION_STATUS_RUNNING, started.result(), context

    def cancel(self) -> Answer:
        """Cancel the workflow. Where Mistral cannot be told, StackStorm leaves the execution canceling,
        and the relay goes on."""
        settings = options.runner_settings(_configuration())
        with contextlib.closing(_mistral(settings)) as mistral:
            control.cancel_for(mistral, self.execution_id, self.context)
        return LIVEACTION_STATUS_CANCELED, self.liveaction.result, self.liveaction.context


def get_runner() -> MistralRunner:
    """What StackStorm asks for, for each run."""
    return MistralRunner(str(uuid.uuid4()))


def get_metadata() -> dict[str, Any]:
    """What StackStorm registers."""
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


def _parameters(ref: str) -> Parameters | None:
    found: Parameters = action_db.get_action_parameters_specs(ref)
    return found if found or action_db.get_action_by_ref(ref) else None


def _entry_point(path: str | None) -> Path:
    if not path:
        raise InputError("entry_point", "the action has none: it names the file with the workbook.")
    return Path(path)


def _workflow_of(execution: Any) -> str | None:
    return workflow_of(execution.context, str(execution.id)) if execution is not None else None
