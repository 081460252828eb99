"""Name the events of Mistral's notifications, and tell who gets them.

Mistral tells the publishers in ``params.notify`` of a workflow execution of each event. There are those
that ``[notifier] notify`` of mistral.conf had when the workflow was started, and those that its author
gave. Sub-workflows get those of their outermost workflow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from st2actions_mistral.model import states
from st2actions_mistral.model.mistral_fields import decoded

PUBLISHER: Final = "st2"
"""The type of the publisher that is this package's notifier."""

NOTIFIER_FIRST: Final = 5.0
"""Seconds in which only the notifier finishes a parent. The relay leaves them to it.

StackStorm does not check and write in one step: two requests that finish one execution at the same
moment would both count, and its notifications would be sent twice.
"""

GIVES_UP_AFTER: Final = 4.0
"""Seconds after an event in which the notifier begins to finish a parent. It normally takes 0.1 s."""

PAUSED: Final = "WORKFLOW_PAUSED"
RESUMED: Final = "WORKFLOW_RESUMED"

# The event of each final state of a workflow.
_END: Final = {
    states.SUCCESS: "WORKFLOW_SUCCEEDED",
    states.ERROR: "WORKFLOW_FAILED",
    states.CANCELLED: "WORKFLOW_CANCELLED",
}

ENDS: Final = frozenset(_END.values())


def announces_end(workflow: Mapping[str, Any]) -> bool:
    """Return True if Mistral tells the notifier that a workflow has ended.

    :param workflow: a final one, as Mistral's API shows it, with ``params``. Whoever starts a workflow
        chooses them, so they may have any shape.
    """
    params = decoded(workflow.get("params"))
    publishers = params.get("notify") if isinstance(params, Mapping) else None
    event = _END[workflow["state"]]
    return isinstance(publishers, list) and any(wants(publisher, event) for publisher in publishers)


def wants(publisher: object, event: str) -> bool:
    """Return True if an entry of ``notify`` tells the notifier of an event.

    :param publisher: of any shape.
    """
    if not isinstance(publisher, Mapping) or publisher.get("type") != PUBLISHER:
        return False
    # Without a list Mistral publishes every event. It looks for the event with "in".
    wanted = publisher.get("event_types")
    return not wanted or (isinstance(wanted, Collection) and event in wanted)
