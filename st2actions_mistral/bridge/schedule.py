"""Create one StackStorm execution for a Mistral action, and only one.

StackStorm has no idempotency: the same POST twice creates two executions. Once the outcome of a POST
is unknown, the execution is looked up by the id of its action before the POST is repeated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError
from st2actions_mistral.model.children import is_accepted
from st2actions_mistral.model.st2_action import refused


def schedule(
    client: St2Client,
    request: ExecutionRequest,
    *,
    lookup_first_after: float = math.inf,
    since: datetime | None = None,
    context_keys: Sequence[str] = (),
) -> dict[str, Any]:
    """Create the execution of a request, or find it if it exists.

    :param lookup_first_after: seconds from now. An attempt that begins later looks the execution up
        before its POST, because somebody else may have created it.
    :param since: when the action was created, in Mistral's time; None: now. The look-up ignores older
        executions, see ``client.st2.CLOCK_MARGIN``.
    :param context_keys: if there are any, the look-up finds only an execution whose ids are signed.
    :return: the execution, created or found.
    :raises NotSent: StackStorm could not be reached before the deadline; nothing was created.
    :raises OutcomeUnknown: the execution may exist; the deadline passed before that was known.
    :raises Answered: StackStorm rejected the request.
    """
    action_execution_id = request.ids.action_execution_id
    in_doubt = False
    header = request.header
    started = time.monotonic()

    def attempt() -> dict[str, Any]:
        nonlocal in_doubt, header
        lookup_first = in_doubt or time.monotonic() - started >= lookup_first_after
        if lookup_first and action_execution_id:
            try:
                found = client.find_children_once(action_execution_id, request.ids.site, since)
            except RemoteError as error:
                if not in_doubt:
                    # No POST was sent.
                    raise
                raise OutcomeUnknown.of(error, "the look-up failed: ") from error
            found = [row for row in found if is_accepted(row, context_keys)]
            if found:
                return found[0]
        try:
            return client.post_execution_once(request.body(), header)
        except OutcomeUnknown as error:
            in_doubt = True
            if error.status == 500:
                # The key "chain" may be the reason, see header_value. Without it StackStorm reports
                # the real error.
                header = request.header_without_chain()
            raise
        except (Answered, NotSent) as error:
            permanent = isinstance(error, Answered) and error.is_permanent
            if in_doubt and not permanent:
                # An earlier POST may still be on its way. This failure does not settle its outcome.
                raise OutcomeUnknown.of(error) from error
            raise

    try:
        execution: dict[str, Any] = client.retrying(repeat_unknown=action_execution_id is not None)(
            attempt
        )
    except Answered as error:
        raise _with_names(error, client, request) from error
    return execution


def _with_names(error: Answered, client: St2Client, request: ExecutionRequest) -> Answered:
    """Return the error with the names of the parameters that StackStorm refuses.

    StackStorm names none: "None is not of type 'string'".
    """
    if error.status != 400:
        return error
    try:
        action = client.action(request.ref)
    except RemoteError:
        # The names are a help only.
        return error
    names = ", ".join(refused(request.parameters, action.parameters)) if action else ""
    if not names:
        return error
    hint = f"StackStorm refuses the value of {names}."
    message = f"{error.message.rstrip('.')}. {hint}"
    return Answered(error.method, error.url, error.status, message, hint=hint)
