"""Decide what to do about one action execution and its child execution.

:func:`decide` is a pure function of what was observed. The controller carries out its answer unchanged,
but for :class:`Look`: then it observes more, and asks again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.errors import Answered, InputError, OutcomeUnknown, RemoteError
from st2actions_mistral.model import states
from st2actions_mistral.model.project import NoAccess
from st2actions_mistral.model.records import ACTION_NAME, action_of
from st2actions_mistral.model.result import fit, is_omitted, task_result
from st2actions_mistral.relay.actions.effects import (
    Cancel,
    Close,
    Complete,
    Effect,
    Look,
    Resume,
    Schedule,
    Wait,
)
from st2actions_mistral.relay.actions.place import Place


@dataclass(frozen=True)
class Rules:
    """The options that decisions depend on."""

    site: str
    limit_kb: int
    """Size limit of a result, see :func:`st2actions_mistral.model.result.fit`."""
    reschedule_after: float = 0
    """Seconds; 0: never."""
    lost_after: float = 0
    """Seconds; 0: never."""
    cancel_orphans: bool = False
    repair_after: float = math.inf
    """Age in seconds from which both limits count as over, because an operator asks for a repair."""
    context_keys: tuple[str, ...] = field(default=(), repr=False)
    """If there are any, only a child whose ids are signed with one of them counts."""

    def is_over(self, limit: float, age: float) -> bool:
        """Tell whether an action of this age has waited for one of the limits."""
        return limit > 0 and age >= min(limit, self.repair_after)


@dataclass(frozen=True)
class Inputs:
    """The inputs of an action as Mistral recorded them."""

    request: ExecutionRequest | None = None
    """The execution to create; None if it is for another StackStorm, or ``error`` is set."""
    error: InputError | None = None
    """The reason why no execution can be created."""

    @property
    def elsewhere(self) -> bool:
        """True if the action is meant for another StackStorm."""
        return self.request is None and self.error is None


@dataclass(frozen=True)
class Seen:
    """One action and its child execution, as both systems have them now."""

    action: Mapping[str, Any] | None
    """The action execution as Mistral shows it; None if there is none."""
    base: str | None = None
    """Name of the action that does the work, see ``bridge.definitions.base_of``."""
    place: Place | None = None
    """None for an action without a workflow."""
    child: Mapping[str, Any] | None = None
    """The whole StackStorm execution; None if there is none. A large result may be left out, see
    ``model.result.is_omitted``."""
    vanished: str | None = None
    """Id of a child that existed and that StackStorm no longer knows."""
    age: float = 0
    """Seconds since the action was created, or since its child vanished."""
    was_pending: bool = False
    """True if this relay saw the action pending before. If it is missing, it was deleted."""
    is_first: bool = False
    """True if no earlier child of the action is known, and none can have been missed."""
    children: int | None = None
    """Number of children in a listing that was made for this observation. Then ``child`` is the first
    of them. None if they were not listed yet."""
    root: Mapping[str, Any] | None = None
    """The outermost StackStorm execution above ``child``; None if there is none."""
    root_observed: bool = False
    whole: bool = False
    """True if a large result was fetched for this observation, as far as that is possible."""
    inputs: Inputs | None = None
    """None if they were not read yet."""
    rejection: RemoteError | None = None
    """The error with which StackStorm rejected the execution during this observation."""
    retries_exhausted: bool = False
    """True if the request was rejected so often in a row that a 500 concerns the request itself."""
    no_access: NoAccess | None = None
    """The reason why the relay must not act in the project of the action; None if it may."""
    client: MistralClient | None = field(default=None, repr=False, compare=False)
    """The client that may change the action; None without access."""
    hidden: bool = False
    """True if Mistral may have the action although it did not show it: the token was for another
    project, or the project is unknown."""


def decide(seen: Seen, rules: Rules) -> Effect:
    """Decide what to do about one action execution and its child execution."""
    action, child = seen.action, seen.child
    if child is not None:
        owner = action_of(child, rules.site, rules.context_keys)
        if owner is None or (action is not None and owner != action["id"]):
            return Wait("the execution belongs to another action or site")
    if action is None:
        if seen.no_access is not None:
            return _refuse(seen.no_access)
        if seen.hidden:
            return Wait("Mistral does not show its action, which may belong to another project")
        if not seen.was_pending:
            # The action may belong to another Mistral that uses the same site.
            return Wait("Mistral does not know its action")
        return _orphan(child, "its action is deleted", rules)
    if seen.base != ACTION_NAME:
        return _other_kind(action)
    if seen.no_access is not None:
        return _refuse(seen.no_access)
    if action["state"] in states.MISTRAL_FINAL:
        return _orphan(child, f"its action is {action['state']} already", rules)
    if action["state"] != states.RUNNING:
        return Wait(f"its action is {action['state']}")
    if child is None:
        return _without_child(seen, action, rules)
    return _with_child(seen, action, child, rules)


def decide_duplicates(
    seen: Seen, children: Sequence[Mapping[str, Any]] | None
) -> tuple[Cancel, ...] | Wait | Look:
    """Decide what to do about the child executions of one action, of which only the first counts.

    :param seen: the action; its child does not matter.
    :param children: all of them, the first one first; None if they were not listed yet.
    """
    action = seen.action
    if action is not None and seen.base != ACTION_NAME:
        return _other_kind(action)
    if seen.no_access is not None:
        return _refuse(seen.no_access)
    if action is None and seen.hidden:
        return Wait("Mistral does not show its action, which may belong to another project")
    if children is None:
        return Look.CHILDREN
    return tuple(
        Cancel(child["id"], f"its action execution has {children[0]['id']} already")
        for child in children[1:]
        if child["status"] not in states.ST2_UNCANCELABLE
    )


def _refuse(no_access: NoAccess) -> Wait:
    return Wait(no_access.reason, no_access=no_access)


def _other_kind(action: Mapping[str, Any]) -> Wait:
    # Anybody who may create executions may write any action id into their context.
    return Wait(f"the action is a {action['name']}, not a {ACTION_NAME}")


def _with_child(
    seen: Seen, action: Mapping[str, Any], child: Mapping[str, Any], rules: Rules
) -> Effect:
    given_up = seen.place.given_up if seen.place else None
    state = states.mistral_state(child["status"])
    if state is None:
        if not given_up:
            return Wait(f"it is {child['status']}")
        if child["status"] == states.ST2_PENDING and rules.cancel_orphans:
            return _unanswered(seen, action, child, given_up)
        return _orphan(child, given_up, rules)
    if given_up and not (seen.place and seen.place.settled):
        return Wait(given_up)
    # A cancelled child may be a duplicate that another relay cancelled.
    sure = seen.is_first and child["status"] != states.ST2_CANCELED
    if not sure and seen.children is None:
        return Look.CHILDREN
    if is_omitted(child) and not seen.whole:
        return Look.RESULT
    # StackStorm's garbage collector times inquiries out, but resumes no root of a runner from outside.
    if _is_timed_out_inquiry(child) and (first := _resume_root(seen, child, "it has timed out")):
        return first
    return Complete(action["id"], state, fit(task_result(child), rules.limit_kb))


def _is_timed_out_inquiry(child: Mapping[str, Any]) -> bool:
    runner = child.get("runner")
    is_inquiry = isinstance(runner, Mapping) and runner.get("name") == "inquirer"
    return is_inquiry and child["status"] == "timeout"


def _unanswered(
    seen: Seen, action: Mapping[str, Any], child: Mapping[str, Any], given_up: str
) -> Effect:
    """Decide what to do about an inquiry whose answer Mistral no longer wants.

    StackStorm does not cancel it.
    """
    assert seen.place is not None
    if not seen.place.superseded and (first := _resume_root(seen, child, given_up)):
        return first
    if not seen.place.settled:
        return Wait(given_up)
    reason = f"StackStorm does not cancel its execution {child['id']}, an inquiry, but {given_up}."
    return Close(action["id"], states.CANCELLED, reason, unanswered=child["id"])


def _resume_root(seen: Seen, child: Mapping[str, Any], reason: str) -> Resume | Wait | Look | None:
    """Resume the root of an inquiry's tree, which StackStorm has paused until there is an answer."""
    if not seen.root_observed:
        return Look.ROOT
    status = seen.root["status"] if seen.root else None
    if seen.root and status == states.ST2_PAUSED:
        return Resume(seen.root["id"], f"it was paused for {child['id']}, but {reason}")
    if status == states.ST2_PAUSING:
        return Wait(f"{reason}, and the root of its execution is still pausing")
    return None


def _without_child(seen: Seen, action: Mapping[str, Any], rules: Rules) -> Effect:
    given_up = seen.place.given_up if seen.place else None
    if given_up:
        if not (seen.place and seen.place.settled):
            return Wait(given_up)
        reason = f"It was never run: {given_up}."
        if seen.vanished:
            reason = f"StackStorm does not know its execution {seen.vanished} any more, and {given_up}."
        return _missing(seen) or Close(action["id"], states.CANCELLED, reason)
    if seen.vanished:
        if rules.is_over(rules.lost_after, seen.age):
            reason = f"StackStorm does not know its execution {seen.vanished} any more."
            return _missing(seen) or _lost(action, reason)
        return Wait(f"its execution {seen.vanished} is missing", until=rules.lost_after or None)
    if rules.is_over(rules.reschedule_after, seen.age):
        return _missing(seen) or _reschedule(seen, action, rules)
    if rules.is_over(rules.lost_after, seen.age):
        return _missing(seen) or _lost(action, "It was lost before it reached StackStorm.")
    limits = [limit for limit in (rules.reschedule_after, rules.lost_after) if limit > 0]
    return Wait("it has no execution yet", until=min(limits, default=None))


def _missing(seen: Seen) -> Wait | Look | None:
    """Check that the action has no child.

    One may have been created since StackStorm was asked, beside one that vanished, or in another
    StackStorm.
    """
    if not seen.vanished:
        if seen.inputs is None:
            return Look.INPUTS
        if seen.inputs.elsewhere:
            return Wait("it is for another StackStorm")
    return Look.CHILDREN if seen.children is None and not seen.rejection else None


def _reschedule(seen: Seen, action: Mapping[str, Any], rules: Rules) -> Effect:
    assert seen.inputs is not None
    error = seen.inputs.error or seen.rejection
    if error is None:
        assert seen.inputs.request is not None
        return Schedule(seen.inputs.request)
    if isinstance(error, RemoteError):
        if not _is_rejected(error, seen.retries_exhausted):
            return Wait(error.log_text(), error=error)
        if isinstance(error, OutcomeUnknown) and seen.children is None:
            # StackStorm may have created it all the same.
            return Look.CHILDREN
    if not rules.is_over(rules.lost_after, seen.age):
        return Wait(error.log_text(), error=error, until=rules.lost_after or None)
    return _lost(action, f"It was lost before it reached StackStorm, and cannot be sent: {error}")


def _is_rejected(error: RemoteError, retries_exhausted: bool) -> bool:
    """Tell whether StackStorm rejects the execution itself, now and later."""
    if error.method != "POST" or not error.url.endswith("/executions"):
        # The look-up before, or the authentication.
        return False
    if isinstance(error, Answered):
        return error.is_permanent
    # StackStorm answers 500 to some invalid requests.
    return isinstance(error, OutcomeUnknown) and error.status == 500 and retries_exhausted


def _orphan(child: Mapping[str, Any] | None, reason: str, rules: Rules) -> Cancel | Wait:
    if child is None or child["status"] in states.ST2_UNCANCELABLE or not rules.cancel_orphans:
        return Wait(reason)
    return Cancel(child["id"], reason)


def _lost(action: Mapping[str, Any], reason: str) -> Close:
    return Close(action["id"], states.ERROR, reason)
