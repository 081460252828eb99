"""Pause and resume executions of workflow runners, as StackStorm's ``services/action.py`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request
from st2_mistral_sandbox.stackstorm.statuses import FINAL
from st2_mistral_sandbox.stackstorm.store import Execution, ExecutionStore

_INACTIVE: Final = FINAL | {"paused", "pending"}

Dispatch = Callable[[str], None]


class Control:
    """Requests that change the status of an execution and call its runner.

    :param pause: calls ``pause`` of the runner of an execution that is ``pausing``.
    :param resume: calls ``resume`` of the runner of an execution that is ``resuming``.
    """

    def __init__(self, store: ExecutionStore, pause: Dispatch, resume: Dispatch) -> None:
        self._store, self._pause, self._resume = store, pause, resume

    def request_pause(self, execution: Execution, user: str) -> None:
        """Make a running execution ``pausing``.

        :raises Fault: 400: its runner cannot pause, or it does not run.
        """
        self._check(execution, "pause")
        if execution.status in ("pausing", "paused"):
            return
        if not self._store.set_status(
            execution.id, "pausing", only_from={"running"}, context={"paused_by": user}, set_size=False
        ):
            raise bad_request(
                f'Unable to pause liveaction "{execution.liveaction_id}" because it is not in a running'
                " state."
            )
        self._pause(execution.id)

    def request_resume(self, execution: Execution, user: str) -> None:
        """Make a paused execution ``resuming``.

        :raises Fault: 400: its runner cannot resume, or it is not paused.
        """
        self._check(execution, "resume")
        if execution.status in ("running", "resuming"):
            return
        if not self._store.set_status(
            execution.id, "resuming", only_from={"paused"}, context={"resumed_by": user}, set_size=False
        ):
            raise bad_request(
                f'Unable to resume liveaction "{execution.liveaction_id}" because it is in'
                f' "{execution.status}" state and not in "paused" state.'
            )
        self._resume(execution.id)

    def has_active_children(self, execution: Execution) -> bool:
        """Return True if a child of a workflow runner's execution is neither final nor paused."""
        children = self._store.children(execution.id, depth=1) if execution.is_workflow else ()
        return any(child.status not in _INACTIVE for child in children)

    def pause_root_of(self, inquiry_id: str) -> None:
        """Pause the root of an inquiry that is below another execution.

        :raises Fault: 400, see :meth:`request_pause`.
        """
        inquiry = self._store.find(inquiry_id)
        if inquiry.status == "pending" and inquiry.context.get("parent"):
            self.request_pause(self._root(inquiry), str(inquiry.context.get("user")))

    def resume_root_of(self, inquiry: Execution, user: str) -> None:
        """Resume the root of an inquiry that is about to be answered.

        :raises Fault: 500: the root is still pausing.
        """
        root = self._root(inquiry)
        if inquiry.context.get("parent") and root.status in ("pausing", "paused"):
            try:
                self.request_resume(root, user)
            except Fault as fault:
                raise Fault(500, fault.text) from fault

    def _check(self, execution: Execution, verb: str) -> None:
        if not execution.is_workflow:
            raise bad_request(
                f'Unable to {verb} liveaction "{execution.liveaction_id}" because it is not supported '
                f'by the "{execution.runner["name"]}" runner.'
            )

    def _root(self, execution: Execution) -> Execution:
        while parent := execution.context.get("parent"):
            execution = self._store.find(parent["execution_id"])
        return execution
