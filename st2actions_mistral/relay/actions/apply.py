"""Apply the effects that :mod:`decide` asks for, in both systems."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from st2actions_mistral.bridge.complete_action import complete_action
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import states
from st2actions_mistral.model.records import created_at
from st2actions_mistral.relay.actions.decide import Rules, Seen
from st2actions_mistral.relay.actions.effects import Cancel, Close, Complete, Resume, Schedule
from st2actions_mistral.relay.actions.index import Index
from st2actions_mistral.relay.metrics import Metrics

LOG: Final = logging.getLogger(__name__)


class CompletionListener(Protocol):
    """Handles the child executions whose results have reached Mistral."""

    def on_child_completed(self, child: Mapping[str, Any]) -> None:
        """Handle that Mistral has the final state of a child's action."""


class Applier:
    """Applies effects and counts them. Safe to share between threads.

    :param on_duplicate: called with an action that has a second child.
    :param parents: receives each child whose action is complete.
    """

    def __init__(
        self,
        st2: St2Client,
        rules: Rules,
        index: Index,
        metrics: Metrics,
        *,
        on_duplicate: Callable[[str], None],
        parents: CompletionListener | None = None,
    ) -> None:
        self._st2 = st2
        self._keys = rules.context_keys
        self._index = index
        self._metrics = metrics
        self._on_duplicate = on_duplicate
        self._parents = parents

    def complete(self, effect: Complete, seen: Seen) -> None:
        """Give an action the result of its child."""
        id_, child = effect.action_execution_id, seen.child
        assert child is not None
        completed = complete_action(
            _client_of(seen),
            id_,
            effect.state,
            effect.output,
            retries_exhausted=seen.retries_exhausted,
        )
        # Otherwise the next resync would reconcile it once more, because it is not pending any more.
        self._index.forget(id_)
        if completed:
            self._metrics.completed.inc()
            LOG.info(
                "Completed: action execution %s %s, StackStorm execution %s %s.",
                id_,
                effect.state,
                child["id"],
                child["status"],
            )
        else:
            LOG.info(
                "Action execution %s was complete before the result of StackStorm execution %s.",
                id_,
                child["id"],
            )
        if self._parents is not None:
            self._parents.on_child_completed(child)

    def close(self, effect: Close, seen: Seen) -> None:
        """Give an action a final state without a result."""
        id_ = effect.action_execution_id
        closed = complete_action(_client_of(seen), id_, effect.state, {"error": effect.reason})
        self._index.forget(id_)
        if closed:
            self._metrics.lost.inc()
            LOG.warning("Closed: action execution %s %s: see its output.", id_, effect.state)
            if effect.unanswered:
                LOG.warning(
                    "StackStorm execution %s stays pending, but nothing waits for its answer:"
                    " StackStorm does not cancel inquiries.",
                    effect.unanswered,
                )
        else:
            LOG.info("Action execution %s was complete before it was closed.", id_)

    def schedule(self, effect: Schedule, seen: Seen) -> Answered | OutcomeUnknown | None:
        """Create the execution of a lost action from Mistral's own record.

        :return: the error if StackStorm, or a proxy in front of it, rejected it.
        """
        assert seen.action is not None
        try:
            made = schedule(
                self._st2,
                effect.request,
                lookup_first_after=0,
                since=created_at(seen.action),
                context_keys=self._keys,
            )
        except (Answered, OutcomeUnknown) as error:
            return error
        id_ = seen.action["id"]
        if not self._index.add(id_, made["id"]):
            self._on_duplicate(id_)
        self._metrics.rescheduled.inc()
        LOG.warning(
            "Rescheduled: StackStorm execution %s (%s) runs for action execution %s, which had none for"
            " %.0f s.",
            made["id"],
            effect.request.ref,
            id_,
            seen.age,
        )
        return None

    def resume(self, effect: Resume) -> None:
        """Resume the execution that StackStorm paused for an inquiry."""
        LOG.info("Resuming StackStorm execution %s: %s.", effect.execution_id, effect.reason)
        self._st2.change_status(effect.execution_id, states.ST2_RESUMING)

    def cancel(self, effect: Cancel) -> None:
        """Cancel an orphaned execution."""
        LOG.info("Cancelling StackStorm execution %s: %s.", effect.execution_id, effect.reason)
        self._cancel(effect)
        self._metrics.cancelled.inc()

    def cancel_duplicate(self, effect: Cancel) -> None:
        """Cancel a duplicate execution."""
        LOG.warning("Cancelling StackStorm execution %s: %s.", effect.execution_id, effect.reason)
        self._cancel(effect)
        self._metrics.duplicates.inc()

    def _cancel(self, cancel: Cancel) -> None:
        status = self._st2.cancel(cancel.execution_id)
        if status is not None and status not in states.ST2_ENDING:
            # It has just become an inquiry that waits for its answer, for example.
            LOG.warning(
                "StackStorm did not cancel execution %s, because it is %s.", cancel.execution_id, status
            )


def _client_of(seen: Seen) -> MistralClient:
    # A decision about an action without access never changes it.
    assert seen.client is not None
    return seen.client
