"""What to do about an action that waits and its child: pure functions of what is seen.

The relay keeps no state that matters. Whatever it learns from a stream or a listing only says where
to look; what is done follows from the action as Mistral has it and the child as StackStorm has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from st2actions_mistral.model import states
from st2actions_mistral.model.result import fit, task_result

ACTION_NAME: Final = "st2.action"


@dataclass(frozen=True)
class Complete:
    """Give a Mistral action its final state and output."""

    action_execution_id: str
    state: str
    output: Mapping[str, Any]


@dataclass(frozen=True)
class Leave:
    """Do nothing, for a reason."""

    reason: str


def settle(
    action: Mapping[str, Any] | None,
    child: Mapping[str, Any] | None,
    *,
    base: str | None,
    site: str,
    limit_kb: int,
) -> Complete | Leave:
    """What to do about one action execution and the child that claims to belong to it.

    :param action: the action execution as Mistral's API shows it; None where there is none.
    :param child: the whole StackStorm execution; None where there is none.
    :param base: the name of the action that does the work, see ``MistralClient.base_of``.
    :param limit_kb: see :func:`st2actions_mistral.model.result.fit`.
    """
    if child is None:
        return Leave("there is no such execution in StackStorm")
    if action is None:
        return Leave("Mistral knows no such action execution")
    if action["state"] != states.RUNNING:
        return Leave(f"the action is {action['state']} already")
    if base != ACTION_NAME:
        # Who may POST executions to StackStorm may write any id into their context; what waits for
        # somebody else's answer is not ours to complete.
        return Leave(f"the action is a {action['name']}, not a {ACTION_NAME}")
    if action_of(child, site) != action["id"]:
        return Leave("the execution belongs to another action or site")
    state = states.mistral_state(child["status"])
    if state is None:
        return Leave(f"the execution is {child['status']}")
    return Complete(action["id"], state, fit(task_result(child), limit_kb))


def action_of(child: Mapping[str, Any], site: str) -> str | None:
    """The action execution that an execution was made for, or None if it is none of this site's.

    A context is whatever somebody sent: nothing of its shape is taken for granted.
    """
    context = child.get("context")
    mistral = context.get("mistral") if isinstance(context, Mapping) else None
    if not isinstance(mistral, Mapping) or mistral.get("site") != site:
        return None
    found = mistral.get("action_execution_id")
    return found if isinstance(found, str) and found else None


def oldest(actions: Iterable[Mapping[str, Any]]) -> datetime:
    """When the first of these action executions was made, in Mistral's time.

    :param actions: at least one; ``created_at`` is UTC without a zone, such as
        "2026-11-23 04:16:07".
    """
    return min(
        datetime.fromisoformat(str(action["created_at"])).replace(tzinfo=timezone.utc)
        for action in actions
    )
