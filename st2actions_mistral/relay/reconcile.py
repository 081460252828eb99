"""What to do about an action that waits and its child: pure functions of what is seen.

The relay keeps no state that matters. Whatever it learns from a stream or a listing only says where
to look; what is done follows from the action as Mistral has it and the child as StackStorm has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from st2actions_mistral.model import states
from st2actions_mistral.model.project import Foreign, Scope, foreign
from st2actions_mistral.model.result import fit, task_result
from st2actions_mistral.model.workflow import has_items

ACTION_NAME: Final = "st2.action"

# What a UUID is made of, as Mistral gives one to each action execution. What is none would stand in a
# log as it is, line breaks and all.
_ID: Final = re.compile(r"[0-9A-Za-z-]{1,36}")


@dataclass(frozen=True)
class Rules:
    """What the options say."""

    site: str
    limit_kb: int
    """See :func:`st2actions_mistral.model.result.fit`."""
    reschedule_after: float = 0
    """Seconds; 0: never."""
    lost_after: float = 0
    """Seconds; 0: never."""
    cancel_orphans: bool = False


@dataclass(frozen=True)
class Place:
    """Where in its workflow an action stands."""

    workflow_state: str
    task_state: str
    with_items: bool = False
    newer_attempt: bool = False
    """Its task has an action that was made later."""

    @classmethod
    def of(
        cls,
        action: Mapping[str, Any],
        task: Mapping[str, Any],
        workflow: Mapping[str, Any] | None,
        attempts: Iterable[Mapping[str, Any]],
    ) -> Place:
        """:param attempts: the action executions of the task; not needed for one with items."""
        return cls(
            workflow_state=workflow["state"] if workflow else states.CANCELLED,
            task_state=task["state"],
            with_items=has_items(task),
            # Whole seconds are enough: what was overtaken by a retry has timed out before, and that
            # takes one at least.
            newer_attempt=any(
                str(other.get("created_at")) > str(action["created_at"]) for other in attempts
            ),
        )

    @property
    def given_up(self) -> str | None:
        """Why nobody waits for the action's result any more; None where somebody does.

        Of a task with items it cannot be told which attempt an item belongs to: there only the state
        of task and workflow count. A workflow in ERROR may be run on by an operator.
        """
        if self.workflow_state == states.CANCELLED:
            return "its workflow is cancelled"
        if self.task_state in states.TASK_FINAL:
            return f"its task is {self.task_state}"
        if self.task_state in states.TASK_BETWEEN_ATTEMPTS:
            return "its task is about to be tried again"
        if self.newer_attempt and not self.with_items:
            return "its task has been tried again"
        return None

    @property
    def settled(self) -> bool:
        """Whether the action's end starts nothing: else it would be taken for the newer attempt's."""
        return self.workflow_state == states.CANCELLED or self.task_state in states.TASK_FINAL


@dataclass(frozen=True)
class Seen:
    """One action and its child, as both systems have them now."""

    action: Mapping[str, Any] | None
    """The action execution as Mistral's API shows it; None where there is none."""
    base: str | None = None
    """The name of the action that does the work, see ``bridge.definitions.base_of``."""
    place: Place | None = None
    """None: run without a workflow."""
    child: Mapping[str, Any] | None = None
    """The whole StackStorm execution, of several the first; None where there is none. A large result
    may be left out, see ``model.result.is_omitted``."""
    vanished: str | None = None
    """The id of the child that there was, and that StackStorm does not know any more."""
    age: float = 0
    """Seconds since the action was made, or since its child was missed."""
    waited: bool = False
    """Whether the action was seen waiting before: if it is not there, it has been deleted."""
    scope: Scope | None = None
    """The project of the relay's token; None where Mistral has no authentication."""


@dataclass(frozen=True)
class Complete:
    """Give a Mistral action its final state and output."""

    action_execution_id: str
    state: str
    output: Mapping[str, Any]

    @property
    def words(self) -> str:
        """What is done, for people."""
        reason = self.output.get("error")
        return f"complete it as {self.state}" + (f": {reason}" if isinstance(reason, str) else "")


@dataclass(frozen=True)
class Cancel:
    """Cancel a child."""

    execution_id: str
    reason: str

    @property
    def words(self) -> str:
        """What is done, for people."""
        return f"cancel {self.execution_id}: {self.reason}"


@dataclass(frozen=True)
class Adopt:
    """Schedule the child that was never made."""

    @property
    def words(self) -> str:
        """What is done, for people."""
        return "schedule it: it has no execution"


@dataclass(frozen=True)
class Leave:
    """Do nothing, for a reason."""

    reason: str

    @property
    def words(self) -> str:
        """What is done, for people."""
        return f"nothing: {self.reason}"


@dataclass(frozen=True)
class Refuse:
    """Do nothing, because the action belongs to another project than the relay's token."""

    foreign: Foreign

    @property
    def words(self) -> str:
        """What is done, for people."""
        return f"nothing: {self.foreign.reason}"


Effect = Complete | Cancel | Adopt | Leave | Refuse


def settle(seen: Seen, rules: Rules) -> Effect:
    """What to do about one action execution and the child that claims to belong to it."""
    action, child = seen.action, seen.child
    if child is not None:
        owner = action_of(child, rules.site)
        if owner is None or (action is not None and owner != action["id"]):
            return Leave("the execution belongs to another action or site")
    if action is None:
        if not seen.waited:
            # Another Mistral's of the same site, perhaps.
            return Leave("this Mistral does not know its action")
        return _orphan(child, "its action is deleted", rules)
    if seen.base != ACTION_NAME:
        # Who may POST executions to StackStorm may write any id into their context; what waits for
        # somebody else's answer is not ours to complete.
        return Leave(f"the action is a {action['name']}, not a {ACTION_NAME}")
    if (other := foreign(action, seen.scope)) is not None:
        return Refuse(other)
    if action["state"] in states.MISTRAL_FINAL:
        return _orphan(child, f"its action is {action['state']} already", rules)
    if action["state"] != states.RUNNING:
        return Leave(f"its action is {action['state']}")
    given_up = seen.place.given_up if seen.place else None
    settled = seen.place is not None and seen.place.settled
    if child is None:
        if given_up:
            return _closed(action, given_up) if settled else Leave(given_up)
        return _childless(seen, action, rules)
    state = states.mistral_state(child["status"])
    if state is None:
        return _orphan(child, given_up, rules) if given_up else Leave(f"it is {child['status']}")
    if given_up and not settled:
        return Leave(given_up)
    return Complete(action["id"], state, fit(task_result(child), rules.limit_kb))


def refused(seen: Seen, rules: Rules, reason: str) -> Complete | Leave:
    """What to do about an action whose child cannot be made.

    :param reason: why not.
    """
    if seen.action is None or not _is_over(seen.age, rules.lost_after):
        return Leave(reason)
    return _lost(seen.action, f"It was lost before it reached StackStorm, and cannot be sent: {reason}")


def action_of(child: Mapping[str, Any], site: str) -> str | None:
    """The action execution that an execution was made for, or None if it is none of this site's.

    A context is whatever somebody sent: nothing of its shape is taken for granted.
    """
    context = child.get("context")
    mistral = context.get("mistral") if isinstance(context, Mapping) else None
    if not isinstance(mistral, Mapping) or mistral.get("site") != site:
        return None
    found = mistral.get("action_execution_id")
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def made_at(action: Mapping[str, Any]) -> datetime:
    """When an action execution was made, in Mistral's time.

    ``created_at`` is UTC without a zone, such as "2026-11-23 04:16:07".
    """
    return datetime.fromisoformat(str(action["created_at"])).replace(tzinfo=timezone.utc)


def oldest(actions: Iterable[Mapping[str, Any]]) -> datetime:
    """When the first of these action executions (at least one) was made, in Mistral's time."""
    return min(made_at(action) for action in actions)


def _orphan(child: Mapping[str, Any] | None, reason: str, rules: Rules) -> Cancel | Leave:
    """What to do about a child that nobody waits for, which may have ended."""
    if child is None or child["status"] in states.ST2_ENDING:
        return Leave(reason)
    return Cancel(child["id"], reason) if rules.cancel_orphans else Leave(reason)


def _childless(seen: Seen, action: Mapping[str, Any], rules: Rules) -> Effect:
    if seen.vanished:
        if _is_over(seen.age, rules.lost_after):
            return _lost(action, f"StackStorm does not know its execution {seen.vanished} any more.")
        return Leave(f"its execution {seen.vanished} is missing")
    if _is_over(seen.age, rules.reschedule_after):
        return Adopt()
    if _is_over(seen.age, rules.lost_after):
        return _lost(action, "It was lost before it reached StackStorm.")
    return Leave("it has no execution yet")


def _closed(action: Mapping[str, Any], reason: str) -> Complete:
    return Complete(action["id"], states.CANCELLED, {"error": f"It was never run: {reason}."})


def _lost(action: Mapping[str, Any], reason: str) -> Complete:
    return Complete(action["id"], states.ERROR, {"error": reason})


def _is_over(age: float, limit: float) -> bool:
    return 0 < limit <= age
