"""``st2.action``: run a StackStorm action as a task of a workflow."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from typing import Any, Final

from mistral_lib import actions as mistral
from oslo_config import cfg

from st2actions_mistral.bridge.clients import client_for
from st2actions_mistral.bridge.keystone_trusts import trusts_for
from st2actions_mistral.bridge.request import parse_request
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.config import load_bridge_settings
from st2actions_mistral.config.trusts import load_trust_settings
from st2actions_mistral.errors import OutcomeUnknown, St2MistralError, as_result
from st2actions_mistral.model.context import MistralIds

LOG: Final = logging.getLogger(__name__)


class St2Action(mistral.Action):
    """Run a StackStorm action and wait for its result.

    ref: the action as pack.action, for example core.local. parameters: an object with its
    parameters; they arrive unchanged. st2_context: the StackStorm execution that the workflow runs
    for; the workflow's environment normally gives it. render_jinja: true lets StackStorm render the
    parameters; a list of names, only these. The result is the result of the StackStorm execution, plus
    the key st2 with execution_id, status and web_url.
    """

    # The engine also creates actions without running them, and passes only vars(self) as JSON to a
    # remote executor. So the attributes are plain JSON, and nothing is computed here.
    def __init__(
        self,
        ref: str,
        parameters: dict[str, Any] | None = None,
        st2_context: dict[str, Any] | None = None,
        render_jinja: bool | list[str] | None = None,
    ) -> None:
        super().__init__()
        self.ref = ref
        self.parameters = parameters
        self.st2_context = st2_context
        self.render_jinja = render_jinja
        self.failed = False
        # By the engine's clock: the engine creates the action when it passes it to an executor.
        self.created_at = time.time()

    def __repr__(self) -> str:
        # Mistral logs this, and shows it in a failed task. It must not contain parameters.
        return f"<st2.action {self.ref!r:.80}>"

    def is_sync(self) -> bool:
        """Return False, because the relay delivers the result; True once the action has failed.

        If this action is the base of an ad-hoc action, Mistral drops the error of an asynchronous
        ``run``. It calls this method again after ``run``, in the same process.
        """
        return self.failed

    def run(self, context: Any) -> mistral.Result | None:
        """Create the StackStorm execution.

        :return: None if the execution exists, or may exist: the action stays RUNNING until the relay
            completes it. Otherwise a ``Result`` with an error.
        """
        # Nothing is logged inside "except": oslo.log would add the full text of the error.
        failure: St2MistralError
        try:
            settings = load_bridge_settings(cfg.CONF)
            ids = MistralIds.of(settings.site, context.execution, context.security)
            st2, request = parse_request(settings, vars(self), ids)
            if settings.makes_trusts and ids.action_execution_id is not None:
                trusts = trusts_for(load_trust_settings(cfg.CONF, settings.st2.timeouts))
                request = request.with_trust(trusts.trust_for(context.security))
            execution = schedule(
                client_for(st2),
                request,
                lookup_first_after=settings.lookup_first_after - abs(time.time() - self.created_at),
                since=datetime.fromtimestamp(self.created_at, timezone.utc),
                context_keys=settings.context_keys,
            )
        except St2MistralError as error:
            failure = error
        else:
            LOG.info(
                "StackStorm execution %s (%s) runs for action execution %s.",
                execution["id"],
                self.ref,
                ids.action_execution_id,
            )
            return None
        if not isinstance(failure, OutcomeUnknown) or ids.action_execution_id is None:
            return self._fail(failure)
        LOG.warning(
            "It is unknown whether StackStorm created an execution of %s for action execution %s (%s)."
            " The relay checks it.",
            self.ref,
            ids.action_execution_id,
            failure.log_text(),
        )
        return None

    def _fail(self, error: St2MistralError) -> mistral.Result:
        LOG.warning("%r failed: %s", self, error.log_text())
        self.failed = True
        return mistral.Result(error={"ref": self.ref, **as_result(error)})
