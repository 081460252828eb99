"""Decide what to do about a parent execution and its workflow.

:func:`decide` is a pure function of what was observed, and its answer is final. If more must be
observed first, the answer is :class:`Look`: the controller observes that and asks again.

A parent is the StackStorm execution that a workflow runs for. Parent and workflow must name each
other: anyone who may create executions in StackStorm, or start workflows in Mistral, can name anything.
A re-run changes the parent that a workflow reports to; only the last one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Union

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.model import states
from st2actions_mistral.model.ids import is_execution_id
from st2actions_mistral.model.links import (
    RUNNER,
    WorkflowRef,
    reports_to,
    started_for,
    workflow_execution_id,
)
from st2actions_mistral.model.notifications import announces_end
from st2actions_mistral.model.project import NoAccess

# Rejections in a row after which the result itself counts as the reason. Each takes some seconds, and
# the pauses between them double.
_REJECTIONS_BEFORE_TRUNCATION: Final = 3

# Seconds after which the runner of a resuming parent counts as dead, or as unable to reach Mistral.
# Before, the workflow may be PAUSED again for a reason of its own: a task with pause-before.
_RESUME_TIMEOUT: Final = 15.0


_HIDDEN: Final = NoAccess(
    None,
    "Mistral does not show it, and it may belong to another project",
    "Finish its execution by hand if the workflow was deleted.",
)


@dataclass(frozen=True)
class Rules:
    """The options that decisions depend on."""

    site: str
    lost_after: float
    """Seconds after which a workflow that Mistral does not know counts as lost; 0: never."""
    notifier_first: float = 0
    """Seconds after the end of a workflow in which only the notifier finishes its parent, where Mistral
    tells it of the end."""


@dataclass(frozen=True)
class StateSeen:
    """The state of a parent's workflow: the cheapest observation."""

    state: str | None
    """None if Mistral does not know the workflow."""


@dataclass(frozen=True)
class Seen:
    """A parent and its workflow, as both systems show them now."""

    parent: Mapping[str, Any] | None
    """The whole StackStorm execution; None if there is none."""
    workflow: Mapping[str, Any] | None = None
    """The workflow execution as Mistral's API shows it, with ``params``; None if there is none."""
    owner: Mapping[str, Any] | None = None
    """The execution that the workflow reports to now, if it is not the parent; None if StackStorm does
    not know it, or ``owner_observed`` is False."""
    owner_observed: bool = False
    missing_for: float = 0
    """Seconds since the workflow, or the parent's reference to it, was first found missing."""
    no_access: NoAccess | None = None
    """The reason why the relay must not act in the project of the workflow; None if it may."""
    client: MistralClient | None = field(default=None, repr=False, compare=False)
    """The client that may change the workflow; None without access."""
    hidden: bool = False
    """True if Mistral may have the workflow although it did not show it: the token was for another
    project, or the project is unknown."""
    status_for: float = 0
    """Seconds since this relay first saw the parent's present status."""
    state_for: float = 0
    """Seconds since this relay first saw the workflow's present state."""
    active_below: bool | None = None
    """True if something below the workflow still runs; None if that was not observed."""
    paused_below: bool | None = None
    """True if a task runs a mistral-v2 action that is paused; None if that was not observed."""
    pause_refused: bool = False
    """True if StackStorm has refused to pause this parent: its runner is no workflow runner there."""
    rejections: int = 0
    """Failures in a row that the result itself may have caused."""


@dataclass(frozen=True)
class SubWorkflowSeen:
    """A sub-workflow and its outermost workflow, as Mistral shows them now."""

    workflow: Mapping[str, Any] | None
    """None if there is none."""
    root: Mapping[str, Any] | None
    """The outermost workflow; None if there is none."""
    no_access: NoAccess | None = None
    """See :attr:`Seen.no_access`."""
    client: MistralClient | None = field(default=None, repr=False, compare=False)
    """The client that may change the sub-workflow; None without access."""


class Look(Enum):
    """Observe more, then decide again."""

    BOTH = "get the parent and its workflow"
    OWNER = "get the execution that the workflow reports to"
    BELOW = "list what runs below the workflow"
    PAUSED = "list the paused executions that tasks of the workflow run"


@dataclass(frozen=True)
class Finish:
    """Write the final status and result of a parent."""

    execution_id: str
    status: str
    lost: str | None = None
    """The reason why there is no workflow to report on; None if there is one."""
    truncate: bool = False
    """Truncate the result if StackStorm fails to store it, instead of retrying later."""


@dataclass(frozen=True)
class Cancel:
    """Cancel a workflow."""

    workflow_execution_id: str
    reason: str


@dataclass(frozen=True)
class ChangeState:
    """Pause or resume a workflow, because StackStorm's runner could not."""

    workflow_execution_id: str
    state: str
    reason: str


@dataclass(frozen=True)
class ChangeStatus:
    """Write a status of a parent that is not final."""

    execution_id: str
    status: str
    reason: str


@dataclass(frozen=True)
class Wait:
    """Do nothing now."""

    reason: str
    again: bool = False
    """True if the workflow may end before the next resync."""
    seconds: float | None = None
    """Seconds after which to decide again; None: as ``again`` says."""


@dataclass(frozen=True)
class Refuse:
    """Do nothing, because the relay must not act in the project of the workflow."""

    workflow_execution_id: str
    no_access: NoAccess


Effect = Union[Look, Finish, Cancel, ChangeState, ChangeStatus, Wait, Refuse]


def decide(seen: StateSeen | Seen, rules: Rules) -> Effect:
    """Decide what to do about one parent and its workflow."""
    if isinstance(seen, StateSeen):
        if seen.state in (states.RUNNING, states.IDLE):
            return Wait(f"its workflow is {seen.state}", again=True)
        return Look.BOTH
    if seen.parent is None:
        return Wait("StackStorm does not know the execution")
    if seen.workflow is None:
        return _without_workflow(seen, seen.parent, rules)
    if seen.workflow["state"] in states.MISTRAL_FINAL:
        return _finished(seen, seen.parent, seen.workflow, rules)
    return _unfinished(seen, seen.parent, seen.workflow, rules)


def decide_sub_workflow(seen: SubWorkflowSeen) -> Effect:
    """Decide what to do about a sub-workflow that Mistral left running.

    Mistral cancels sub-workflows with their root, but not one that starts at that moment.
    """
    workflow, root = seen.workflow, seen.root
    if workflow is None or workflow["state"] in states.MISTRAL_FINAL:
        return Wait("the sub-workflow has ended")
    if root is None or root["state"] != states.CANCELLED or not started_for(root):
        return Wait("its outermost workflow is not a cancelled one of StackStorm's")
    if seen.no_access is not None:
        return Refuse(workflow["id"], seen.no_access)
    return Cancel(workflow["id"], f"its outermost workflow {root['id']} is cancelled")


def disagree(status: str, state: str) -> bool:
    """Return True if a parent's status and the state of its unfinished workflow call for a change."""
    if status in (states.ST2_CANCELING, states.ST2_PAUSING, states.ST2_RESUMING):
        return True
    pair = status, state
    return pair in ((states.ST2_RUNNING, states.PAUSED), (states.ST2_PAUSED, states.RUNNING))


def is_unwanted(execution: Mapping[str, Any]) -> bool:
    """Return True if nobody in StackStorm waits for an execution's workflow any more.

    The execution was cancelled, or its runner could not learn whether the workflow was started.
    """
    if execution["status"] in states.ST2_STOPPING:
        return True
    result = execution.get("result")
    mistral = result.get("mistral") if isinstance(result, Mapping) else None
    unknown = isinstance(mistral, Mapping) and mistral.get("start") == "unknown"
    return execution["status"] == states.ST2_FAILED and unknown


def ref_of(execution: Mapping[str, Any], site: str) -> WorkflowRef | None:
    """Return the workflow that an execution names; None if it names none of this site."""
    ref = WorkflowRef.of(execution.get("context"))
    return ref if ref and ref.site == site else None


def may_be_parent(execution: Mapping[str, Any], site: str) -> bool:
    """Return True if an execution has a workflow of this site, or may have one soon."""
    ref = WorkflowRef.of(execution.get("context"))
    return ref.site == site if ref is not None else _has_our_runner(execution)


def is_paused_workflow(execution: Mapping[str, Any]) -> bool:
    """Return True for a mistral-v2 action whose workflow is paused."""
    named = WorkflowRef.of(execution.get("context")) is not None
    return named and execution["status"] == states.ST2_PAUSED


def parent_of(child: Mapping[str, Any]) -> str | None:
    """Return the id of the execution that a child execution was created below, from its context."""
    context = child.get("context")
    parent = context.get("parent") if isinstance(context, Mapping) else None
    found = parent.get("execution_id") if isinstance(parent, Mapping) else None
    return found if is_execution_id(found) else None


def _without_workflow(seen: Seen, parent: Mapping[str, Any], rules: Rules) -> Finish | Wait | Refuse:
    if parent["status"] in states.ST2_FINAL:
        return Wait(f"it is {parent['status']} already")
    ref = ref_of(parent, rules.site)
    canceling = parent["status"] == states.ST2_CANCELING
    if ref is None and not (canceling and _has_our_runner(parent) and _is_lost(seen, rules)):
        return Wait("it has no workflow yet", again=may_be_parent(parent, rules.site))
    workflow_id = ref.execution_id if ref else workflow_execution_id(parent["id"])
    if not _is_lost(seen, rules):
        return Wait("its workflow is missing")
    if seen.hidden:
        # A missing one need not be deleted.
        return Refuse(workflow_id, seen.no_access or _HIDDEN)
    status = states.ST2_CANCELED if canceling else states.ST2_FAILED
    return _finish(
        seen,
        parent,
        status,
        f"Mistral does not know the workflow execution {workflow_id}: it was deleted, or never"
        " started.",
    )


def _finished(
    seen: Seen, parent: Mapping[str, Any], workflow: Mapping[str, Any], rules: Rules
) -> Finish | Wait:
    if parent["id"] not in (reports_to(workflow), started_for(workflow)):
        return Wait("its workflow runs for another execution")
    if parent["status"] in states.ST2_FINAL:
        return Wait(f"it is {parent['status']} already")
    left_to_notifier = rules.notifier_first - seen.state_for
    if left_to_notifier > 0 and announces_end(workflow):
        return Wait("the notifier knows that its workflow has ended", seconds=left_to_notifier)
    if parent["status"] == states.ST2_CANCELING:
        return _finish(seen, parent, states.ST2_CANCELED)
    if ref_of(parent, rules.site) is None:
        # Anyone who starts a workflow can name an execution; only the runner writes the reverse.
        lost_its_runner = _has_our_runner(parent) and started_for(workflow) == parent["id"]
        if not (lost_its_runner and _is_lost(seen, rules)):
            again = may_be_parent(parent, rules.site)
            return Wait("it does not name its workflow yet", again=again)
    return _finish(seen, parent, states.st2_status(workflow["state"]))


def _unfinished(
    seen: Seen, parent: Mapping[str, Any], workflow: Mapping[str, Any], rules: Rules
) -> Effect:
    owner_id = reports_to(workflow)
    owner = parent if owner_id == parent["id"] else seen.owner
    final = parent["status"] in states.ST2_FINAL
    if not final and parent["id"] not in (owner_id, started_for(workflow)):
        return Wait("its workflow runs for another execution")
    if owner_id and owner_id != parent["id"] and (final or is_unwanted(parent)):
        if not seen.owner_observed:
            return Look.OWNER
        if final and owner is not None:
            # The workflow was run again for the owner, perhaps without an event: the owner counts.
            parent = owner
    if parent["id"] not in (owner_id, started_for(workflow)):
        return Wait("its workflow runs for another execution")
    if not is_unwanted(parent):
        named = parent is owner and parent is seen.parent and ref_of(parent, rules.site) is not None
        if named and not final:
            return _paused_or_running(seen, parent, workflow)
        again = may_be_parent(parent, rules.site)
        return Wait(f"its workflow is {workflow['state']}", again=again)
    if owner is None:
        return Wait("StackStorm does not know the execution that its workflow runs for")
    # Other executions that name the workflow do not count, because it does not name them. Mistral
    # re-runs tasks and changes the owner in one step, so there is no moment in between.
    if not is_unwanted(owner):
        return Wait(f"its workflow runs for execution {owner['id']}")
    if seen.no_access is not None:
        return Refuse(workflow["id"], seen.no_access)
    return Cancel(workflow["id"], f"StackStorm execution {owner['id']} is {owner['status']}")


def _paused_or_running(seen: Seen, parent: Mapping[str, Any], workflow: Mapping[str, Any]) -> Effect:
    """Decide whether a parent and its unfinished workflow are to be paused or resumed.

    The statuses "pausing" and "resuming" are requests, which the workflow follows. Otherwise StackStorm
    follows the workflow: it may pause itself, and an operator may pause or resume it in Mistral.

    A parent is paused with a mistral-v2 action below it. It is not resumed with one, because a user may
    have paused it. Before it is "running" again, its runner requests to resume what is below.
    Orquesta workflows and action chains do not count, because they resume themselves after an inquiry.
    """
    id_, status, state = parent["id"], parent["status"], workflow["state"]
    paused, reason = state == states.PAUSED, f"its workflow is {state}"
    wait = Wait(reason, again=not (paused and status == states.ST2_PAUSED))
    if status == states.ST2_PAUSING:
        if not paused:
            return _change_state(seen, workflow, states.PAUSED)
        if seen.active_below is None:
            return Look.BELOW
        return wait if seen.active_below else ChangeStatus(id_, states.ST2_PAUSED, reason)
    if status == states.ST2_RESUMING:
        if seen.status_for < _RESUME_TIMEOUT:
            return wait
        if paused:
            return _change_state(seen, workflow, states.RUNNING)
        return ChangeStatus(id_, states.ST2_RUNNING, reason)
    if status == states.ST2_RUNNING and not seen.pause_refused:
        if paused:
            return ChangeStatus(id_, states.ST2_PAUSING, reason)
        if state == states.RUNNING and seen.paused_below is None:
            return Look.PAUSED
        if seen.paused_below:
            return ChangeStatus(id_, states.ST2_PAUSING, "a workflow below it is paused")
    if state == states.RUNNING and status == states.ST2_PAUSED:
        return ChangeStatus(id_, states.ST2_RESUMING, reason)
    return wait


def _change_state(seen: Seen, workflow: Mapping[str, Any], state: str) -> ChangeState | Refuse:
    assert seen.parent is not None
    if seen.no_access is not None:
        return Refuse(workflow["id"], seen.no_access)
    reason = f"StackStorm execution {seen.parent['id']} is {seen.parent['status']}"
    return ChangeState(workflow["id"], state, reason)


def _finish(seen: Seen, parent: Mapping[str, Any], status: str, lost: str | None = None) -> Finish:
    return Finish(parent["id"], status, lost, seen.rejections >= _REJECTIONS_BEFORE_TRUNCATION)


def _is_lost(seen: Seen, rules: Rules) -> bool:
    return 0 < rules.lost_after <= seen.missing_for


def _has_our_runner(execution: Mapping[str, Any]) -> bool:
    runner = execution.get("runner")
    return isinstance(runner, Mapping) and runner.get("name") == RUNNER
