"""What waits, and what the relay would do about it next: a look that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model.project import REMEDY, foreign
from st2actions_mistral.relay import reconcile
from st2actions_mistral.relay.view import View


@dataclass(frozen=True)
class Pending:
    """One action that waits."""

    action_execution_id: str
    name: str
    age: int
    """Seconds, by Mistral's clock."""
    execution_id: str | None
    """The child; None where there is none."""
    status: str | None
    """The child's."""
    next: str
    """What the relay would do, or why nothing."""
    error: str | None = None
    """Why it cannot be looked at; else why the relay could not settle it the last time."""
    tries: int = 0
    """How often the relay has tried in vain."""
    project_id: str | None = None
    """The OpenStack project of the action; None where Mistral has no authentication."""
    foreign: bool = False
    """Whether the relay's token is for another project, so that the relay does not complete it."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def pending(
    view: View,
    mistral: MistralClient,
    rules: reconcile.Rules,
    workers: int,
    failing: Mapping[str, Mapping[str, Any]],
) -> Iterator[Pending]:
    """Every action that waits, the oldest first.

    :param workers: how many are looked at at once.
    :param failing: what a relay tells of those that it could not settle, see ``metrics.Health``.
    :raises RemoteError: one of the two systems does not answer.
    """
    waiting = view.all_waiting()
    listed = view.children(waiting)
    scope = mistral.scope() if waiting else None
    now = (mistral.clock() if waiting else None) or datetime.now(timezone.utc)

    def one(action: Mapping[str, Any]) -> Pending:
        id_ = action["id"]
        child = listed.first.get(id_)
        age = (now - reconcile.made_at(action)).total_seconds()
        told = failing.get(id_, {})
        then, error = "", told.get("error")
        other = foreign(action, scope)
        try:
            if other is not None:
                then, error = reconcile.Refuse(other).words, f"{other.reason}. {REMEDY}"
            else:
                seen = view.look(id_, child["id"] if child else None, age=age)
                then = reconcile.settle(seen, rules).words
                if id_ in listed.doubled:
                    then += "; cancel all children but the first"
        except St2MistralError as failure:
            then, error = "it cannot be looked at", str(failure)
        return Pending(
            action_execution_id=id_,
            name=action["name"],
            age=int(age),
            execution_id=child["id"] if child else None,
            status=child["status"] if child else None,
            next=then,
            error=error,
            tries=told.get("times", 0),
            project_id=action.get("project_id") if scope else None,
            foreign=other is not None,
        )

    with ThreadPoolExecutor(workers, thread_name_prefix="look") as pool:
        yield from pool.map(one, sorted(waiting.values(), key=lambda a: str(a["created_at"])))
