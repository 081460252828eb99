"""``st2.callback``: report the final state of a workflow to StackStorm."""

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
from st2actions_mistral.model.links import RUNNER
from st2actions_mistral.model.result import parent_result

LOG: Final = logging.getLogger(__name__)


class St2Callback(mistral.Action):
    """Finish the StackStorm execution that a workflow runs for.

    state: SUCCESS, ERROR or CANCELLED, or a final status of StackStorm. result: any value that the
    workflow reports. st2_context: the StackStorm execution to finish; the workflow's environment
    normally gives it. The result of the execution is an object with the keys output (the value of
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

        :return: ``{"execution_id", "status"}`` of the parent, with ``message`` if the parent was final
            with another status before. A ``Result`` with an error if the parent was not finished.
        """
        # Nothing is logged inside "except": oslo.log would add the full text of the error.
        try:
            status = states.callback_status(self.state)
            settings = load_bridge_settings(cfg.CONF)
            st2_context = St2Context.parse(self.st2_context)
            st2 = st2_for(settings, st2_context)
            ids = MistralIds.of(settings.site, context.execution, context.security)
            parent = trusted_parent(settings, st2_context, self.st2_context, ids, for_completion=True)
            if parent is None:
                raise InputError(
                    "st2_context.parent",
                    "is missing: StackStorm did not start this workflow, so no execution is to be"
                    " finished.",
                )
            report = parent_result(self.result, self.state, ids)
            client = client_for(st2)
            if st2_context.runner == RUNNER:
                await_start(client, parent.execution_id, ids.workflow_execution_id)
            execution = complete_parent(
                client, parent.execution_id, status, report, layout=settings.result_layout
            )
        except St2MistralError as error:
            failed = error
        else:
            return mistral.Result(data=_outcome(execution, status))
        LOG.warning("%r failed: %s", self, failed.log_text())
        return mistral.Result(error=as_result(failed))


def _outcome(execution: dict[str, Any], wanted: str) -> dict[str, Any]:
    outcome = {"execution_id": execution["id"], "status": execution["status"]}
    expected = states.ST2_STOPPING if wanted == states.ST2_CANCELED else {wanted}
    if execution["status"] not in expected:
        outcome["message"] = (
            f"The execution was {execution['status']} before this workflow reported {wanted}. Its"
            " status and result are unchanged."
        )
        LOG.warning("StackStorm execution %s: %s", execution["id"], outcome["message"])
    return outcome
