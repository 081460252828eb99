"""``st2.action``: a StackStorm action as a task of a workflow."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from typing import Any, Final

from mistral_lib import actions as mistral
from oslo_config import cfg

from st2actions_mistral.bridge.clients import client_for
from st2actions_mistral.bridge.request import parse_request
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.config import load_bridge_settings
from st2actions_mistral.errors import OutcomeUnknown, St2MistralError, as_result
from st2actions_mistral.model.context import MistralIds

LOG: Final = logging.getLogger(__name__)


class St2Action(mistral.Action):
    """Run a StackStorm action and wait for its result.

    ref: the action as pack.action, e.g. core.local. parameters: an object with its parameters; they
    arrive as they are. st2_context: the StackStorm execution that the workflow runs for; normally
    given by the workflow's environment. render_jinja: true lets StackStorm render the parameters.
    The result is the one of the StackStorm execution, plus the key st2 with execution_id, status and
    web_url.
    """

    # The engine makes an action to ask it small questions too, and hands a remote executor no more
    # than vars(self) as JSON: so the attributes are the inputs, and nothing is worked out here.
    def __init__(
        self,
        ref: str,
        parameters: dict[str, Any] | None = None,
        st2_context: dict[str, Any] | None = None,
        render_jinja: bool | None = None,
    ) -> None:
        super().__init__()
        self.ref = ref
        self.parameters = parameters
        self.st2_context = st2_context
        self.render_jinja = render_jinja
        self.over = False
        # By the clock of the engine, which makes an action when it hands it to an executor.
        self.made_at = time.time()

    def __repr__(self) -> str:
        # Mistral logs this, and shows it in a failed task: no parameter may be in it.
        return f"<st2.action {self.ref!r:.80}>"

    def is_sync(self) -> bool:
        """False, for the relay brings the result; True once there is nothing left to wait for.

        An error that ``run`` returns counts as it is for an asynchronous action, but is dropped where
        the action is the base of an ad-hoc one. Both look here again after ``run``, in the process
        that ran it.
        """
        return self.over

    def run(self, context: Any) -> mistral.Result | None:
        """Make the StackStorm execution.

        :return: None, and the action stays RUNNING until the relay completes it, also where it could
            not be settled in time whether StackStorm made the execution; a ``Result`` with an error
            where there is none.
        """
        # Nothing is logged where an error is handled: oslo.log would add the whole text of the error.
        failed: St2MistralError
        try:
            settings = load_bridge_settings(cfg.CONF)
            ids = MistralIds.of(settings.site, context.execution)
            st2, request = parse_request(settings, vars(self), ids)
            execution = schedule(
                client_for(st2),
                request,
                lookup_first_after=settings.lookup_first_after - abs(time.time() - self.made_at),
                since=datetime.fromtimestamp(self.made_at, timezone.utc),
            )
        except St2MistralError as error:
            failed = error
        else:
            LOG.info(
                "StackStorm execution %s (%s) runs for action execution %s.",
                execution["id"],
                self.ref,
                ids.action_execution_id,
            )
            return None
        if not isinstance(failed, OutcomeUnknown) or ids.action_execution_id is None:
            return self._failed(failed)
        LOG.warning(
            "It is not known whether StackStorm runs %s for action execution %s (%s). The relay will"
            " find out.",
            self.ref,
            ids.action_execution_id,
            failed.log_text(),
        )
        return None

    def _failed(self, error: St2MistralError) -> mistral.Result:
        LOG.warning("%r failed: %s", self, error.log_text())
        self.over = True
        return mistral.Result(error={"ref": self.ref, **as_result(error)})
