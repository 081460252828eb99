"""Test the decisions about parents with random sequences of events.

The model follows the rules that were measured: a final status of an execution stays; a workflow in
ERROR can be resumed by an operator, or run again for a new parent; a cancelled one cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from st2actions_mistral.bridge.parents.decide import (
    Cancel,
    ChangeState,
    ChangeStatus,
    Finish,
    Look,
    Refuse,
    Rules,
    Seen,
    StateSeen,
    SubWorkflowSeen,
    Wait,
    decide,
    decide_sub_workflow,
    is_unwanted,
)
from st2actions_mistral.model import states
from st2actions_mistral.model.links import WorkflowRef, workflow_execution_id
from st2actions_mistral.model.project import NoAccess

FIRST = f"{0:024x}"
ID = workflow_execution_id(FIRST)
LOST_AFTER = 600.0
UNFINISHED = ("RUNNING", "PAUSED")
CLOSED = NoAccess("other", "it belongs to it", "Give a role.")
OPEN = "open"
"""Mistral has authentication, and the relay may act in the project."""
NOTIFIER_FIRST = 5.0
RULES = Rules("here", LOST_AFTER, NOTIFIER_FIRST)
NOTIFIERS_RULES = Rules("here", LOST_AFTER)
START_UNKNOWN = {"mistral": {"start": "unknown"}}


@dataclass
class Parent:
    """An execution in StackStorm."""

    id: str
    status: str = "running"
    named: bool = False
    """True if its runner has returned, and it names the workflow."""
    result: dict[str, Any] = field(default_factory=dict)
    status_since: float = 0.0
    claimant: bool = False
    """True if it only names the workflow of another one."""
    missed_since: float | None = None
    workflow_was_seen: bool = False

    @property
    def final(self) -> bool:
        return self.status in states.ST2_FINAL

    def shown(self) -> dict[str, Any]:
        context = WorkflowRef("here", ID, "n").as_context({}) if self.named else {}
        return {"id": self.id, "status": self.status, "context": context, "result": self.result}


class World(RuleBasedStateMachine):
    """One workflow, its parents one after the other, and executions that only claim it."""

    @initialize(access=st.sampled_from([None, OPEN, CLOSED]), notified=st.booleans())
    def begin(self, access: str | NoAccess | None, notified: bool) -> None:
        # None: Mistral has no authentication.
        self.access = access
        self.now = 0.0
        self.notified = notified
        self._state: str | None = "RUNNING"
        self.state_since = 0.0
        self.owner = FIRST
        self.parents = [Parent(FIRST)]
        self.ends: dict[str, str] = {}
        self.active_below = self.paused_below = False

    @property
    def state(self) -> str | None:
        """The state of the workflow; None if it was deleted."""
        return self._state

    @state.setter
    def state(self, state: str | None) -> None:
        if state != self._state:
            self._state, self.state_since = state, self.now

    def no_access(self) -> NoAccess | None:
        return self.access if isinstance(self.access, NoAccess) else None

    def parent(self, which: int) -> Parent:
        return self.parents[which % len(self.parents)]

    def owned_by(self) -> Parent:
        return next(parent for parent in self.parents if parent.id == self.owner)

    # Mistral

    @precondition(lambda self: self.state in UNFINISHED)
    @rule(state=st.sampled_from(["SUCCESS", "CANCELLED", "PAUSED", "RUNNING"]))
    def workflow_changes(self, state: str) -> None:
        self.state = state

    @precondition(lambda self: self.state in UNFINISHED)
    @rule()
    def workflow_fails(self) -> None:
        # A rule of its own, because many others need it.
        self.state = "ERROR"

    @precondition(lambda self: self.state in states.MISTRAL_FINAL)
    @rule(sure=st.sampled_from([False, False, False, True]))
    def workflow_is_deleted(self, sure: bool) -> None:
        if sure:
            self.state = None

    @precondition(lambda self: self.state == "ERROR")
    @rule()
    def operator_resumes_workflow(self) -> None:
        self.state = "RUNNING"

    @precondition(lambda self: self.state == "ERROR" and len(self.parents) < 5)
    @rule()
    def workflow_is_run_again_for_a_new_parent(self) -> None:
        if self.owned_by().final:
            self.state = "RUNNING"
            self.parents.append(Parent(f"{len(self.parents):024x}"))
            self.owner = self.parents[-1].id

    @precondition(lambda self: self.state == "RUNNING")
    @rule(status=st.sampled_from(["succeeded", "failed", "canceled"]))
    def callback_finishes_the_parent(self, status: str) -> None:
        owner = self.owned_by()
        if not owner.final:
            self.end(owner, status, {"output": "of the callback"})

    # StackStorm

    @rule(which=st.integers(0, 4))
    def runner_returns(self, which: int) -> None:
        parent = self.parent(which)
        if not parent.final and not parent.claimant:
            parent.named = True

    @rule(which=st.integers(0, 4), sure=st.sampled_from([False, False, True]))
    def runner_fails_with_unknown_start(self, which: int, sure: bool) -> None:
        parent = self.parent(which)
        if sure and not parent.named and not parent.final:
            self.end(parent, "failed", START_UNKNOWN)

    @rule(which=st.integers(0, 4), final=st.booleans())
    def parent_is_cancelled(self, which: int, final: bool) -> None:
        parent = self.parent(which)
        if not parent.final:
            parent.status = "canceling"
            if final:
                self.end(parent, "canceled", {})

    @precondition(lambda self: len(self.parents) < 5)
    @rule()
    def execution_claims_the_workflow(self) -> None:
        self.parents.append(Parent(f"{len(self.parents):024x}", named=True, claimant=True))

    @rule(active=st.booleans())
    def something_below_starts_or_ends(self, active: bool) -> None:
        self.active_below = active

    @rule(paused=st.booleans())
    def workflow_below_is_paused_or_resumed(self, paused: bool) -> None:
        self.paused_below = paused

    @rule(which=st.integers(0, 4), reached=st.booleans())
    def user_pauses(self, which: int, reached: bool) -> None:
        parent = self.parent(which)
        if parent.status == "running" and not parent.claimant:
            self.set_status(parent, "pausing")
            self.runner_changes_workflow(parent, "PAUSED", reached)

    @rule(which=st.integers(0, 4), reached=st.booleans())
    def user_resumes(self, which: int, reached: bool) -> None:
        parent = self.parent(which)
        if parent.status == "paused":
            self.set_status(parent, "resuming")
            if self.runner_changes_workflow(parent, "RUNNING", reached):
                self.set_status(parent, "running")

    def runner_changes_workflow(self, parent: Parent, state: str, reached: bool) -> bool:
        """Do what the runner does, unless it cannot reach Mistral."""
        if reached and parent.id == self.owner and self.state in UNFINISHED:
            self.state = state
        return reached

    def set_status(self, parent: Parent, status: str) -> None:
        parent.status, parent.status_since = status, self.now

    @rule(seconds=st.sampled_from([1, 5, 300, 601]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    def end(self, parent: Parent, status: str, result: dict[str, Any]) -> None:
        parent.status, parent.result = status, result

    # Relays

    @rule(which=st.integers(0, 4), cheaply=st.booleans(), rejections=st.integers(0, 4))
    def relay_reconciles(self, which: int, cheaply: bool, rejections: int) -> None:
        """Observe what the decision asks for, until there is an effect to apply."""
        parent = self.parent(which)
        seen: StateSeen | Seen = StateSeen(self.state) if cheaply else self.seen(parent, rejections)
        looks: list[Look] = []
        while isinstance(effect := decide(seen, RULES), Look):
            assert effect not in looks, "it was observed already"
            looks.append(effect)
            if effect is Look.BOTH:
                assert self.state != "RUNNING", "the state suffices"
                seen = self.seen(parent, rejections)
            elif effect is Look.BELOW:
                assert isinstance(seen, Seen)
                seen = replace(seen, active_below=self.active_below)
            elif effect is Look.PAUSED:
                assert isinstance(seen, Seen)
                assert (parent.status, self.state) == ("running", "RUNNING")
                seen = replace(seen, paused_below=self.paused_below)
            else:
                assert isinstance(seen, Seen)
                assert self.owner != parent.id, "it was observed already"
                seen = replace(seen, owner=self.owned_by().shown(), owner_observed=True)
        if isinstance(effect, Finish):
            self.check_finish(parent, effect)
            waited = self.now - self.state_since
            assert effect.lost or not self.notified or waited >= NOTIFIER_FIRST
            assert effect.truncate == (rejections >= 3)
            self.end(parent, effect.status, {"output": "of the relay"})
        elif isinstance(effect, Cancel):
            assert self.state in UNFINISHED
            assert is_unwanted(self.owned_by().shown()), "its owner wants it"
            assert self.access != CLOSED, "it belongs to another project"
            self.state = "CANCELLED"
        elif isinstance(effect, ChangeState):
            assert self.state in UNFINISHED
            assert (parent.status, effect.state) in (("pausing", "PAUSED"), ("resuming", "RUNNING"))
            assert parent.id == self.owner, "it runs for another execution"
            assert self.access != CLOSED, "it belongs to another project"
            self.state = effect.state
        elif isinstance(effect, ChangeStatus):
            assert parent.id == self.owner, "its workflow runs for another execution"
            self.check_status(parent, effect.status)
        elif isinstance(effect, Refuse):
            assert self.access == CLOSED or (self.access == OPEN and self.state is None)
        elif effect.seconds is not None:
            assert self.notified
            assert self.state in states.MISTRAL_FINAL
            assert self.now + effect.seconds == self.state_since + NOTIFIER_FIRST
        elif effect.again:
            assert self.state in UNFINISHED or not parent.named

    # The notifier

    @precondition(lambda self: self.notified and self.state is not None)
    @rule(which=st.integers(0, 4))
    def notifier_handles_an_event(self, which: int) -> None:
        """Mistral's events may be late or lost, and the notifier reads what there is now."""
        parent = self.parent(which)
        effect = decide(self.seen(parent), NOTIFIERS_RULES)
        if effect is Look.BELOW:
            seen = replace(self.seen(parent), active_below=self.active_below)
            effect = decide(seen, NOTIFIERS_RULES)
        if isinstance(effect, Finish) and not effect.lost:
            self.check_finish(parent, effect)
            self.end(parent, effect.status, {"output": "of the notifier"})
        elif isinstance(effect, ChangeStatus) and parent.id == self.owner:
            self.check_status(parent, effect.status)

    @rule(root=st.sampled_from(["CANCELLED", "ERROR", "RUNNING", None]), ours=st.booleans())
    def relay_reconciles_a_sub_workflow(self, root: str | None, ours: bool) -> None:
        below = {"id": "sub", "state": self.state} if self.state else None
        description = f"StackStorm execution {FIRST}" if ours else "a user's"
        shown = {"id": ID, "state": root, "description": description} if root else None
        effect = decide_sub_workflow(SubWorkflowSeen(below, shown, self.no_access()))
        wanted = self.state in UNFINISHED and root == "CANCELLED" and ours
        expected = (Refuse if self.access == CLOSED else Cancel) if wanted else Wait
        assert isinstance(effect, expected)

    def seen(self, parent: Parent, rejections: int = 0) -> Seen:
        workflow = None
        if self.state is not None:
            context = {"parent": {"execution_id": self.owner}}
            env = {"__actions": {"st2.callback": {"st2_context": context}}}
            workflow = {
                "id": ID,
                "state": self.state,
                "description": f"StackStorm execution {FIRST}",
                "params": {"env": env, "notify": [{"type": "st2"}] if self.notified else []},
            }
            parent.missed_since = None
            parent.workflow_was_seen |= parent.named
        elif parent.missed_since is None:
            parent.missed_since = self.now
        since = self.now if parent.missed_since is None else parent.missed_since
        return Seen(
            parent.shown(),
            workflow,
            missing_for=self.now - since,
            rejections=rejections,
            no_access=self.no_access(),
            # Its project is known from the listing of an earlier resync, or from an observation.
            hidden=self.access == CLOSED or (self.access == OPEN and not parent.workflow_was_seen),
            status_for=self.now - parent.status_since,
            state_for=self.now - self.state_since,
        )

    def check_status(self, parent: Parent, status: str) -> None:
        """Change a status as StackStorm does, and as its runner does then."""
        allowed = {
            "pausing": {"running"},
            "paused": {"pausing"},
            "resuming": {"paused"},
            "running": {"resuming"},
        }
        assert parent.status in allowed[status], "StackStorm must refuse it"
        if status == "pausing" and self.paused_below:
            assert self.state in UNFINISHED
            self.state = "PAUSED"
        assert (self.state == "PAUSED") == (status in ("pausing", "paused"))
        assert not (status == "paused" and self.active_below)
        self.set_status(parent, status)
        if status == "resuming":
            self.set_status(parent, "running")

    def check_finish(self, parent: Parent, effect: Finish) -> None:
        assert effect.execution_id == parent.id
        assert not parent.final, "a final parent is never changed"
        if self.state is None:
            assert effect.lost
            assert parent.missed_since is not None
            assert self.now - parent.missed_since >= LOST_AFTER
            assert self.access is None or (self.access == OPEN and parent.workflow_was_seen)
            return
        assert self.state in states.MISTRAL_FINAL
        assert not parent.claimant
        assert parent.id in (self.owner, FIRST)
        expected = {"SUCCESS": "succeeded", "ERROR": "failed", "CANCELLED": "canceled"}[self.state]
        assert effect.status == ("canceled" if parent.status == "canceling" else expected)

    # Invariants

    @invariant()
    def final_status_stays(self) -> None:
        for parent in self.parents:
            if parent.final:
                assert self.ends.setdefault(parent.id, parent.status) == parent.status

    def teardown(self) -> None:
        """Reconcile until both systems agree."""
        if not hasattr(self, "parents"):
            return
        everyone = range(len(self.parents))
        for which in everyone:
            self.runner_returns(which)
        self.active_below = self.paused_below = False
        for _ in range(4):
            for which in everyone:
                self.relay_reconciles(which, cheaply=False, rejections=0)
            self.now += 601
        owner = self.owned_by()
        if is_unwanted(owner.shown()) and self.access != CLOSED:
            assert self.state not in UNFINISHED
        if self.state in states.MISTRAL_FINAL:
            assert owner.final
        if self.state in UNFINISHED and not owner.final and self.access != CLOSED:
            assert (owner.status, self.state) in (("running", "RUNNING"), ("paused", "PAUSED"))
        if self.state is None and self.access is None:
            assert all(parent.final for parent in self.parents)


TestDecisions = World.TestCase
TestDecisions.settings = settings(max_examples=500, stateful_step_count=30, deadline=None)
