"""Give a parent execution its end, with as much of the result as StackStorm takes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import states
from st2actions_mistral.model.result import cut_parent_result
from st2actions_mistral.model.workflow import WorkflowRef

LOG: Final = logging.getLogger(__name__)

# What says no to the result itself. Others say who we are, which execution it is, or that this is not
# the moment.
_THE_RESULT: Final = frozenset({400, 413, 422, 500})

# Characters of JSON. A connection that breaks under less than that does not break for the size of it.
_SMALL: Final = 65536


# Seconds. StackStorm writes what its runner says within milliseconds; it may be busy.
_LONGEST_START: Final = 10.0
_FIRST_PAUSE: Final = 0.05


def await_start(
    client: St2Client,
    execution_id: str,
    workflow_execution_id: str | None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the parent names this workflow, for 10 seconds at most.

    Then the runner that started the workflow has had its say. Before, StackStorm may write "running"
    over what it is told of the end: of 30 workflows of one task, one stayed running (3.9.0).

    :raises RemoteError: StackStorm does not answer.
    """
    waited, pause = 0.0, _FIRST_PAUSE
    while waited < _LONGEST_START:
        execution = client.get_execution(execution_id)
        if execution is None or execution["status"] in states.ST2_FINAL:
            return
        ref = WorkflowRef.of(execution.get("context"))
        # StackStorm's policy action.retry gives an execution the context of the one before it.
        if ref is not None and ref.execution_id == workflow_execution_id:
            return
        sleep(pause)
        waited, pause = waited + pause, min(2 * pause, 1.0)


def end(
    client: St2Client,
    execution_id: str,
    status: str,
    report: Mapping[str, Any],
    *,
    tried_enough: bool = True,
) -> dict[str, Any]:
    """Give the parent its end, if need be without the result: a workflow that is over must not leave a
    parent that waits for ever. Safe to repeat.

    :param report: as ``model.result.parent_result`` makes it.
    :param tried_enough: whether a 500, or a connection that breaks under a large report, is the
        report's fault once the client has tried for its time. Else it may be a moment's, and is raised.
    :return: the execution as it is now, see ``St2Client.finish``.
    :raises RemoteError: it could not be told; Answered with 404 for an unknown execution.
    """
    try:
        return client.finish(execution_id, status, report)
    except Answered as error:
        if error.status not in _THE_RESULT:
            raise
        refused = error.brief()
    except OutcomeUnknown as error:
        large = len(json.dumps(report)) >= _SMALL
        if not tried_enough or not (error.status == 500 or (error.status is None and large)):
            raise
        refused = error.brief()
    LOG.warning(
        "StackStorm execution %s did not get the result of its workflow (%s): it gets a summary.",
        execution_id,
        refused,
    )
    return client.finish(execution_id, status, cut_parent_result(report))
