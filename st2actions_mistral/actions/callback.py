"""``st2.callback``: tell StackStorm how a workflow ended."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from mistral_lib import actions as mistral

from st2actions_mistral import config
from st2actions_mistral.actions.clients import client_for, configuration
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, InputError, OutcomeUnknown, St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds, St2Context
from st2actions_mistral.model.result import cut_parent_result, parent_result

LOG: Final = logging.getLogger(__name__)

# What says nothing of the result itself, whatever its size: who we are, which execution it is, whether
# StackStorm is there at all.
_NOT_THE_RESULT: Final = frozenset({401, 403, 404, 429, 502, 503, 504})

# Characters of JSON. A connection that breaks under less than that does not break for the size of it.
_SMALL: Final = 65536


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
            conf = configuration()
            st2_context = St2Context.parse(self.st2_context)
            settings = config.for_context(conf, st2_context)
            ids = MistralIds.of(config.site(conf), context.execution)
            parent = config.believed_parent(conf, st2_context, self.st2_context, ids, to_end_it=True)
            if parent is None:
                raise InputError(
                    "st2_context.parent",
                    "is missing: this workflow was not started for a StackStorm execution.",
                )
            report = parent_result(self.result, self.state, ids)
            execution = _tell(client_for(settings), parent.execution_id, status, report)
        except St2MistralError as error:
            failed = error
        else:
            return mistral.Result(data=_told(execution, status))
        LOG.warning("%r failed: %s", self, failed.brief())
        return mistral.Result(error=_error(failed))


def _tell(client: St2Client, execution_id: str, status: str, report: dict[str, Any]) -> dict[str, Any]:
    """Give the parent its end, if need be without the result: a workflow that is over must not leave a
    parent that waits for ever."""
    try:
        return client.finish(execution_id, status, report)
    except (Answered, OutcomeUnknown) as error:
        is_small = len(json.dumps(report)) < _SMALL
        if error.status in _NOT_THE_RESULT or (error.status is None and is_small):
            raise
        refused = error.brief()
    LOG.warning(
        "StackStorm execution %s did not get the result of its workflow (%s): it gets a summary.",
        execution_id,
        refused,
    )
    return client.finish(execution_id, status, cut_parent_result(report))


def _told(execution: dict[str, Any], wanted: str) -> dict[str, Any]:
    told = {"execution_id": execution["id"], "status": execution["status"]}
    expected = {wanted, "canceling"} if wanted == "canceled" else {wanted}
    if execution["status"] not in expected:
        told["message"] = (
            f"The execution had ended as {execution['status']} before this workflow reported"
            f" {wanted}; its status and result were left alone."
        )
        LOG.warning("StackStorm execution %s: %s", execution["id"], told["message"])
    return told


def _error(error: St2MistralError) -> dict[str, Any]:
    result: dict[str, Any] = {"error": str(error)}
    if isinstance(error, Answered):
        result |= {"status": error.status, "message": error.message}
    return result
