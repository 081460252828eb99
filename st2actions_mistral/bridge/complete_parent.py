"""Finish a parent execution, with as much of the workflow's result as StackStorm takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from st2actions_mistral.bridge.rejection import breaks_on
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import states
from st2actions_mistral.model.links import WorkflowRef
from st2actions_mistral.model.result import OUTPUT_LAYOUT, laid_out, truncate_parent_result

LOG: Final = logging.getLogger(__name__)

# Statuses that reject the result. All others concern authentication, the execution's id, or a
# transient failure.
_REJECTS_RESULT: Final = frozenset({400, 413, 422, 500})

# Seconds. StackStorm stores what its runner returns within milliseconds, but it may be busy.
_MAX_WAIT: Final = 10.0
_FIRST_PAUSE: Final = 0.05


def await_start(
    client: St2Client,
    execution_id: str,
    workflow_execution_id: str | None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the parent names this workflow, for 10 seconds at most.

    Until then the runner that started the workflow has not returned, and StackStorm may overwrite a
    final status with "running": of 30 workflows of one task, one stayed running (3.9.0).

    :param sleep: how to wait; tests inject their own.
    :raises RemoteError: StackStorm does not respond.
    """
    waited, pause = 0.0, _FIRST_PAUSE
    while waited < _MAX_WAIT:
        execution = client.get_execution(execution_id)
        if execution is None or execution["status"] in states.ST2_FINAL:
            return
        ref = WorkflowRef.of(execution.get("context"))
        # Another workflow may be named: StackStorm's policy action.retry copies the context of the
        # previous execution.
        if ref is not None and ref.execution_id == workflow_execution_id:
            return
        sleep(pause)
        waited, pause = waited + pause, min(2 * pause, 1.0)


def complete_parent(
    client: St2Client,
    execution_id: str,
    status: str,
    report: Mapping[str, Any],
    *,
    layout: str = OUTPUT_LAYOUT,
    retries_exhausted: bool = True,
) -> dict[str, Any]:
    """Give a parent execution its final status, with a truncated result if the full one is rejected.

    A completed workflow must not leave a parent that runs for ever. Safe to repeat.

    :param report: as ``model.result.parent_result`` returns it.
    :param layout: of the result, see ``model.result.laid_out``.
    :param retries_exhausted: True if a 500, or a connection that breaks under a large report, is to be
        blamed on the report. If False, it is raised.
    :return: the current execution, see ``St2Client.finish``.
    :raises RemoteError: the parent was not finished. Answered with 404: the execution is unknown.
    """
    try:
        return client.finish(execution_id, status, laid_out(report, layout))
    except Answered as error:
        if error.status not in _REJECTS_RESULT:
            raise
        reason = error.log_text()
    except OutcomeUnknown as error:
        if not retries_exhausted or not breaks_on(error, report):
            raise
        reason = error.log_text()
    LOG.warning(
        "StackStorm execution %s gets a truncated result of its workflow. The full one failed: %s",
        execution_id,
        reason,
    )
    return client.finish(execution_id, status, laid_out(truncate_parent_result(report), layout))
