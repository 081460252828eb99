"""``st2.callback``: tell StackStorm how a workflow ended."""

from __future__ import annotations

import logging
from typing import Any, Final

from mistral_lib import actions as mistral
from oslo_config import cfg

from st2actions_mistral.bridge.clients import client_for
from st2actions_mistral.bridge.complete_parent import await_start, complete_parent
from st2actions_mistral.bridge.trust import st2_for, trusted_parent
from st2actions_mistral.config import load_bridge_settings
from st2actions_mistral.errors import InputError, St2MistralError, as_result
from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds, St2Context
from st2actions_mistral.model.result import parent_result
from st2actions_mistral.model.workflow import RUNNER

LOG: Final = logging.getLogger(__name__)


class St2Callback(mistral.Action):
    """Give the StackStorm execution that a workflow runs for its final state and result.

    state: SUCCESS, ERROR or CANCELLED (StackStorm's own words are understood too). result: what the
    workflow reports, anything. st2_context: the StackStorm execution in question; normally given by
    the workflow's environment. The execution's result is an object with the keys output (the
    result), state and mistral (the ids of the workflow).
    """

    def __init__(
        self,
        state: str,
        result: Any = None,
        st2_context: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.state = state
        self.result = result
        self.st2_context = st2_context

    def __repr__(self) -> str:
        return f"<st2.callback {self.state!r:.80}>"

    def run(self, context: Any) -> mistral.Result:
        """Report to the parent execution. Safe to repeat.

        :return: ``{"execution_id", "status"}`` of the parent; also ``message`` where it had ended
            otherwise already. A ``Result`` with an error where it could not be told.
        """
        # Nothing is logged where an error is handled: oslo.log would add the whole text of the error.
        try:
            status = states.callback_status(self.state)
            settings = load_bridge_settings(cfg.CONF)
            st2_context = St2Context.parse(self.st2_context)
            st2 = st2_for(settings, st2_context)
            ids = MistralIds.of(settings.site, context.execution)
            parent = trusted_parent(settings, st2_context, self.st2_context, ids, for_completion=True)
            if parent is None:
                raise InputError(
                    "st2_context.parent",
                    "is missing: this workflow was not started for a StackStorm execution.",
                )
            report = parent_result(self.result, self.state, ids)
            client = client_for(st2)
            if st2_context.runner == RUNNER:
                await_start(client, parent.execution_id, ids.workflow_execution_id)
            execution = complete_parent(client, parent.execution_id, status, report)
        except St2MistralError as error:
            failed = error
        else:
            return mistral.Result(data=_told(execution, status))
        LOG.warning("%r failed: %s", self, failed.log_text())
        return mistral.Result(error=as_result(failed))


def _told(execution: dict[str, Any], wanted: str) -> dict[str, Any]:
    told = {"execution_id": execution["id"], "status": execution["status"]}
    expected = states.ST2_STOPPING if wanted == states.ST2_CANCELED else {wanted}
    if execution["status"] not in expected:
        told["message"] = (
            f"The execution had ended as {execution['status']} before this workflow reported"
            f" {wanted}; its status and result were left alone."
        )
        LOG.warning("StackStorm execution %s: %s", execution["id"], told["message"])
    return told
