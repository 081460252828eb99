"""Write to StackStorm what was decided about a parent execution."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from st2actions_mistral.bridge.complete_parent import complete_parent
from st2actions_mistral.bridge.parents.decide import ChangeStatus, Finish, Seen, ref_of
from st2actions_mistral.bridge.parents.report import Reporter
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered
from st2actions_mistral.model import states
from st2actions_mistral.model.links import WorkflowRef, workflow_execution_id
from st2actions_mistral.model.report import lost_report
from st2actions_mistral.model.result import OUTPUT_LAYOUT

LOG: Final = logging.getLogger(__name__)


class ParentWriter:
    """Gives parents their statuses and results. Safe to share between threads.

    :param lister: reads the workflows without access to their project, as an administrator.
    :param keys: the values of ``context_key``, see ``model.records.action_of``.
    :param layout: of the results, see ``model.result.laid_out``.
    """

    def __init__(
        self,
        st2: St2Client,
        lister: MistralClient,
        site: str,
        *,
        keys: Sequence[str] = (),
        layout: str = OUTPUT_LAYOUT,
    ) -> None:
        self._st2 = st2
        self._lister = lister
        self._site = site
        self._reporter = Reporter(st2, site, keys)
        self._layout = layout

    def report(self, effect: Finish, seen: Seen) -> dict[str, Any]:
        """Return the result that a parent is to get, see ``model.report``.

        :raises RemoteError: one of the systems did not answer.
        """
        if effect.lost:
            assert seen.parent is not None
            ref = ref_of(seen.parent, self._site)
            ref = ref or WorkflowRef(self._site, workflow_execution_id(effect.execution_id), "")
            return lost_report(ref, effect.lost)
        assert seen.workflow is not None
        # Without access to its project an administrator may still read it.
        return self._reporter.report(seen.workflow, seen.client or self._lister)

    def finish(self, effect: Finish, report: Mapping[str, Any]) -> str | None:
        """Give a parent its final status and its result.

        :param report: see :meth:`report`.
        :return: its status now; None if it was deleted. It has another status if it was final already,
            and is "canceling" until its runner has cancelled it.
        :raises RemoteError: StackStorm did not answer.
        """
        execution_id = effect.execution_id
        state = "is lost" if effect.lost else report["state"]
        try:
            finished = complete_parent(
                self._st2,
                execution_id,
                effect.status,
                report,
                layout=self._layout,
                retries_exhausted=effect.truncate,
            )
        except Answered as error:
            if error.status != 404:
                raise
            LOG.info("StackStorm execution %s was deleted before it could be finished.", execution_id)
            return None
        status: str = finished["status"]
        workflow_id = report["mistral"]["workflow_execution_id"]
        if status == states.ST2_CANCELING:
            # StackStorm asks its runner first.
            LOG.info(
                "Cancelling StackStorm execution %s: workflow execution %s %s.",
                execution_id,
                workflow_id,
                state,
            )
        elif status != effect.status:
            LOG.info(
                "StackStorm execution %s was already %s when workflow execution %s ended.",
                execution_id,
                status,
                workflow_id,
            )
        else:
            LOG.info(
                "Finished: StackStorm execution %s %s, workflow execution %s %s.",
                execution_id,
                status,
                workflow_id,
                state,
            )
        return status

    def change_status(self, effect: ChangeStatus) -> str | None:
        """Give a parent a status that is not final.

        :return: its status now; None if it was deleted.
        :raises RemoteError: StackStorm did not answer.
        """
        changed = self._st2.change_status(effect.execution_id, effect.status)
        status: str | None = changed["status"] if changed else None
        LOG.info(
            "Changing StackStorm execution %s to %s: %s. It is %s.",
            effect.execution_id,
            effect.status,
            effect.reason,
            status or "unknown",
        )
        return status
