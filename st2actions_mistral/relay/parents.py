"""What to do about a workflow and the StackStorm execution that it runs for, its parent: pure functions
of what is seen.

Both have to name each other: whoever may POST executions to StackStorm, or start workflows in Mistral,
can name anything. Which parent a workflow reports to changes with a re-run; only the last one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from st2actions_mistral.model import states
from st2actions_mistral.model.project import Foreign, Scope, foreign
from st2actions_mistral.model.workflow import RUNNER, WorkflowRef, reports_to, started_for


@dataclass(frozen=True)
class Seen:
    """A parent and its workflow, as both systems have them now."""

    parent: Mapping[str, Any] | None
    """The whole StackStorm execution; None where there is none."""
    workflow: Mapping[str, Any] | None = None
    """The workflow execution as Mistral's API shows it, with ``params``; None where there is none."""
    owner: Mapping[str, Any] | None = None
    """The execution that the workflow reports to now; None where StackStorm does not know it. Looked
    for only where the parent :func:`wants_no_more`."""
    age: float = 0
    """Seconds since the workflow was missed, or the parent's word which one it is."""
    scope: Scope | None = None
    """The project of the relay's token; None where Mistral has no authentication."""
    was_seen: bool = False
    """Whether this relay has seen the workflow before: if it is not there, it has been deleted."""


@dataclass(frozen=True)
class Finish:
    """Give a parent its end."""

    execution_id: str
    status: str
    lost: str | None = None
    """Why there is nothing to tell of the workflow; None where there is."""


@dataclass(frozen=True)
class Stop:
    """Cancel a workflow."""

    workflow_execution_id: str
    reason: str


@dataclass(frozen=True)
class Leave:
    """Do nothing, for a reason."""

    reason: str
    again: bool = False
    """Whether to look again before the next comparison."""


@dataclass(frozen=True)
class Refuse:
    """Do nothing, because the workflow belongs to another project than the relay's token."""

    workflow_execution_id: str
    foreign: Foreign

    @property
    def reason(self) -> str:
        """Why nothing is done, for people."""
        return self.foreign.reason


Effect = Finish | Stop | Leave | Refuse


def settle(seen: Seen, site: str, lost_after: float) -> Effect:
    """What to do about one parent and its workflow.

    :param lost_after: seconds after which a workflow counts as lost that Mistral does not know; 0:
        never.
    """
    parent, workflow = seen.parent, seen.workflow
    if parent is None:
        return Leave("StackStorm does not know the execution")
    ref = ref_of(parent, site)
    if workflow is None:
        return _without_workflow(seen, parent, ref, lost_after)
    if parent["id"] not in (reports_to(workflow), started_for(workflow)):
        return Leave("its workflow runs for another execution")
    if workflow["state"] not in states.MISTRAL_FINAL:
        if not wants_no_more(parent):
            return Leave(f"its workflow is {workflow['state']}", again=True)
        return _unwanted(seen, workflow)
    if parent["status"] in states.ST2_FINAL:
        return Leave(f"it is {parent['status']} already")
    if parent["status"] == states.ST2_CANCELING:
        return Finish(parent["id"], states.ST2_CANCELED)
    if ref is None and not _has_lost_its_runner(parent, workflow, seen.age, lost_after):
        # Whoever starts a workflow can name an execution; only the runner makes an execution name it.
        return Leave("it does not name its workflow yet", again=True)
    return Finish(parent["id"], states.st2_status(workflow["state"]))


def wants_no_more(execution: Mapping[str, Any]) -> bool:
    """Whether nobody in StackStorm waits for the end of an execution's workflow: it is cancelled, or
    its runner could not learn whether the workflow began."""
    if execution["status"] in states.ST2_STOPPING:
        return True
    result = execution.get("result")
    mistral = result.get("mistral") if isinstance(result, Mapping) else None
    unknown = isinstance(mistral, Mapping) and mistral.get("start") == "unknown"
    return execution["status"] == states.ST2_FAILED and unknown


def ref_of(execution: Mapping[str, Any], site: str) -> WorkflowRef | None:
    """The workflow that an execution names; None where it names none, or one of another site."""
    ref = WorkflowRef.of(execution.get("context"))
    return ref if ref and ref.site == site else None


def may_be_parent(execution: Mapping[str, Any], site: str) -> bool:
    """Whether an execution has a workflow of this site, or may have one soon."""
    ref = WorkflowRef.of(execution.get("context"))
    if ref is not None:
        return ref.site == site
    runner = execution.get("runner")
    return isinstance(runner, Mapping) and runner.get("name") == RUNNER


def parent_of(child: Mapping[str, Any]) -> str | None:
    """The execution that a child was made below, as its context has it."""
    context = child.get("context")
    parent = context.get("parent") if isinstance(context, Mapping) else None
    found = parent.get("execution_id") if isinstance(parent, Mapping) else None
    return found if isinstance(found, str) and found else None


def _has_lost_its_runner(
    parent: Mapping[str, Any], workflow: Mapping[str, Any], age: float, lost_after: float
) -> bool:
    """Whether the runner died before it could say which workflow it started."""
    runner = parent.get("runner")
    ours = isinstance(runner, Mapping) and runner.get("name") == RUNNER
    return ours and started_for(workflow) == parent["id"] and 0 < lost_after <= age


def _without_workflow(
    seen: Seen, parent: Mapping[str, Any], ref: WorkflowRef | None, lost_after: float
) -> Finish | Leave | Refuse:
    if parent["status"] in states.ST2_FINAL:
        return Leave(f"it is {parent['status']} already")
    if ref is None:
        return Leave("it has no workflow yet", again=True)
    if not 0 < lost_after <= seen.age:
        return Leave("its workflow is missing")
    if not seen.was_seen and (other := foreign({}, seen.scope)) is not None:
        # Mistral hides the workflows of other projects: a missing one need not be deleted.
        return Refuse(ref.execution_id, other)
    canceling = parent["status"] == states.ST2_CANCELING
    status = states.ST2_CANCELED if canceling else states.ST2_FAILED
    return Finish(
        parent["id"],
        status,
        lost=f"Mistral does not know the workflow execution"
        f" {ref.execution_id}: it was deleted, or never started.",
    )


def _unwanted(seen: Seen, workflow: Mapping[str, Any]) -> Stop | Leave | Refuse:
    owner = seen.owner
    if owner is None:
        return Leave("StackStorm does not know the execution that its workflow runs for")
    # Others that name the workflow have no say: it does not name them. Mistral runs tasks again and
    # names the one that they are run for in one step, so that there is no moment between the two.
    if not wants_no_more(owner):
        return Leave(f"its workflow runs for execution {owner['id']}")
    if (other := foreign(workflow, seen.scope)) is not None:
        return Refuse(workflow["id"], other)
    return Stop(workflow["id"], f"StackStorm execution {owner['id']} is {owner['status']}")
