"""List the pending actions, and what the relay would do about each. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.model.project import NoAccess, owner_of
from st2actions_mistral.model.records import action_of, created_at
from st2actions_mistral.relay.actions.controller import rules_of
from st2actions_mistral.relay.actions.decide import decide, decide_duplicates
from st2actions_mistral.relay.actions.effects import Effect, Look, Wait
from st2actions_mistral.relay.actions.index import Index
from st2actions_mistral.relay.actions.observe import ActionObserver, ParseRequest
from st2actions_mistral.relay.actions.resync import ActionResync


@dataclass(frozen=True)
class Pending:
    """One pending action."""

    action_execution_id: str
    name: str
    age: int
    """Seconds, by Mistral's clock."""
    execution_id: str | None
    """The child execution; None if there is none."""
    status: str | None
    """Status of the child execution."""
    next: str
    """The relay's next effect in words."""
    error: str | None = None
    """The reason why the action cannot be observed, or the relay's last failure."""
    failures: int = 0
    """Failures of the relay in a row."""
    project_id: str | None = None
    """The OpenStack project of the action; None where Mistral has no authentication."""
    no_access: bool = False
    """True if the relay must not act in the action's project, so that it does not complete it."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON that ``status --json`` prints."""
        return asdict(self)


def pending_actions(
    st2: St2Client,
    clients: ProjectClients,
    settings: RelaySettings,
    failing: Mapping[str, Mapping[str, Any]],
    *,
    parse_request: ParseRequest,
) -> Iterator[Pending]:
    """Return every pending action, the oldest first.

    :param failing: what a relay shows at ``/failing``, see ``health.HealthServer``.
    :raises RemoteError: a system did not answer.
    """
    rules = rules_of(settings)
    index = Index()
    observer = ActionObserver(
        st2, clients, settings.site, index, parse_request=parse_request, keys=settings.context_keys
    )
    lister = ActionResync(st2, clients, rules, index, observer)
    pending = lister.pending()
    children = lister.children(pending)
    for id_, child in children.first.items():
        index.set_first(id_, child["id"])
        observer.hints.learn_child(id_, child)
    if not pending:
        return
    now, has_projects = observer.now(), clients.scope() is not None

    def one(action: Mapping[str, Any]) -> Pending:
        id_ = action["id"]
        child = children.first.get(id_)
        failure = failing.get(id_, {})
        error = failure.get("error")
        closed = False
        try:
            closed = isinstance(observer.access(action), NoAccess)
            seen = observer.observe(id_)
            effect = decide(seen, rules)
            # A large result is not fetched: only the relay needs it.
            while isinstance(effect, Look) and effect is not Look.RESULT:
                seen = observer.look(seen, effect)
                effect = decide(seen, rules)
            effects: list[Effect] = [effect]
            if id_ in children.duplicated:
                found = decide_duplicates(seen, observer.find_children(action, id_))
                effects += found if isinstance(found, tuple) else ()
            then = "; ".join(effect.summary for effect in effects)
            if isinstance(effect, Wait) and effect.no_access is not None:
                error = effect.no_access.text
        except St2MistralError as failed:
            then, error = "it cannot be observed", str(failed)
        return Pending(
            action_execution_id=id_,
            name=action["name"],
            age=int((now - created_at(action)).total_seconds()),
            execution_id=child["id"] if child else None,
            status=child["status"] if child else None,
            next=then,
            error=error,
            failures=failure.get("times", 0),
            project_id=owner_of(action) if has_projects else None,
            no_access=closed,
        )

    with ThreadPoolExecutor(settings.workers, thread_name_prefix="observe") as pool:
        yield from pool.map(one, sorted(pending.values(), key=lambda a: str(a["created_at"])))


def unanswered_inquiries(
    st2: St2Client, clients: ProjectClients, settings: RelaySettings
) -> Iterator[Pending]:
    """Return the inquiries for whose answer no action waits any more, the oldest first.

    StackStorm does not cancel them.

    :raises RemoteError: a system did not answer.
    """
    inquiries = list(st2.pending(settings.site))
    now = (clients.lister.clock() if inquiries else None) or datetime.now(timezone.utc)
    for execution in inquiries:
        id_ = action_of(execution, settings.site, settings.context_keys)
        action = clients.lister.find_action(id_) if id_ else None
        if id_ is None or action is None or action["state"] not in states.MISTRAL_FINAL:
            continue
        yield Pending(
            action_execution_id=id_,
            name=action["name"],
            age=int((now - created_at(action)).total_seconds()),
            execution_id=execution["id"],
            status=execution["status"],
            next=f"nothing: its action is {action['state']}, and StackStorm does not cancel inquiries."
            " Answer it, or wait for its ttl",
        )
