"""Decisions about actions in every order of events: a small world, and what must hold in it.

The world keeps the rules that Mistral and StackStorm were measured to keep. Any final state of any
action of a task that has not ended ends the task. Nothing happens to a task that has ended. An executor
that is killed loses what it had not sent. Two POSTs create two executions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from st2actions_mistral.bridge.rejection import may_be_for_body
from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.errors import Answered, InputError, NotSent, OutcomeUnknown, RemoteError
from st2actions_mistral.model import states
from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.project import NoAccess
from st2actions_mistral.model.result import is_omitted
from st2actions_mistral.relay.actions.decide import (
    Cancel,
    Close,
    Complete,
    Effect,
    Inputs,
    Look,
    Resume,
    Rules,
    Schedule,
    Seen,
    Wait,
    decide,
    decide_duplicates,
)
from st2actions_mistral.relay.actions.place import Place

RULES = Rules("here", 1024, reschedule_after=120, lost_after=600, cancel_orphans=True)
FINALS = sorted(states.ST2_FINAL - {"canceled"})
STATUSES = [*FINALS, "canceling", *["pending"] * 3, *["deleted"] * 4]
POST = "http://st2/v1/executions"
CLOSED = NoAccess("other", "it belongs to it", "Give a role.")
# An attempt, counted from the newest one; a child, counted from the first one.
WHICH = st.integers(0, 1)
HEARD = st.integers(0, 3)
LARGE = 2 * 1024 * 1024

# The outcome of the POST of a lost action: the error, and whether the execution is created.
POSTS: dict[str, tuple[RemoteError | None, bool]] = {
    "created": (None, True),
    "invalid": (Answered("POST", POST, 400, "no such action"), False),
    "unauthorized": (Answered("POST", POST, 401, "no"), False),
    "broken": (OutcomeUnknown("POST", POST, "no", status=500), False),
    "broken, but created": (OutcomeUnknown("POST", POST, "no", status=500), True),
    "no answer": (OutcomeUnknown("POST", POST, "no"), True),
    "unreachable": (NotSent("POST", POST, "no"), False),
}


@dataclass
class Attempt:
    """An action execution of the task, and what became of it."""

    id: str
    created: float
    inputs: Inputs
    state: str = "RUNNING"
    output: dict[str, Any] | None = None
    lost: bool = False
    """No executor will run it."""
    children: list[dict[str, Any]] = field(default_factory=list)
    vanished: str | None = None
    missed_since: float = 0
    rejections: int = 0

    def child(self, number: int) -> dict[str, Any] | None:
        return self.children[number % len(self.children)] if self.children else None

    def shown(self) -> dict[str, Any]:
        moment = datetime(2026, 11, 23, tzinfo=timezone.utc) + timedelta(seconds=self.created)
        return {
            "id": self.id,
            "name": "st2.action",
            "state": self.state,
            "created_at": moment.strftime("%Y-%m-%d %H:%M:%S"),
        }


class World(RuleBasedStateMachine):
    """One workflow with one task of two attempts, any number of relays, one StackStorm."""

    @initialize(
        inputs=st.sampled_from(["ours"] * 8 + ["elsewhere", "unreadable"]), children=st.integers(0, 2)
    )
    def begin(self, inputs: str, children: int) -> None:
        self.now = 0.0
        self.workflow = "RUNNING"
        self.task = "RUNNING"
        self.ended_by: str | None = None
        self.kind = inputs
        self.attempts: list[Attempt] = []
        self.number = 0
        self.post = "created"
        self.root = "running"
        self.access = "open"
        self.new_attempt(children)

    def new_attempt(self, children: int) -> None:
        """Begin an attempt, of which an executor may have made something already."""
        id_ = f"a-{len(self.attempts)}"
        inputs = {
            "ours": Inputs(
                ExecutionRequest("core.noop", {}, MistralIds("here", action_execution_id=id_))
            ),
            "elsewhere": Inputs(),
            "unreadable": Inputs(error=InputError("ref", "names no action.")),
        }
        attempt = Attempt(id_, self.now, inputs[self.kind])
        self.attempts.append(attempt)
        if attempt.inputs.request is not None:
            for _ in range(children):
                self.create_child(attempt)
                attempt.lost = True

    # -- Mistral -------------------------------------------------------------------------------------

    @rule()
    def workflow_is_cancelled(self) -> None:
        if self.workflow == "RUNNING" and self.task not in states.TASK_FINAL:
            self.workflow = "CANCELLED"

    @precondition(lambda self: self.task == "RUNNING" and self.workflow == "RUNNING")
    @rule()
    def task_times_out(self) -> None:
        self.now += 1
        self.task = "DELAYED" if len(self.attempts) == 1 else "ERROR"

    @precondition(lambda self: self.task == "DELAYED")
    @rule(children=st.integers(0, 2))
    def task_is_retried(self, children: int) -> None:
        self.task = "RUNNING"
        self.new_attempt(children)

    def end(self, attempt: Attempt, state: str, output: dict[str, Any]) -> None:
        if attempt.state in states.MISTRAL_FINAL:
            return
        attempt.state, attempt.output = state, output
        if self.task not in states.TASK_FINAL:
            assert self.task == "RUNNING" or self.workflow == "CANCELLED", "before its retry"
            self.task = state
            self.ended_by = attempt.id

    # -- executors and StackStorm --------------------------------------------------------------------

    def create_child(self, attempt: Attempt, *, large: bool = False) -> None:
        self.number += 1
        ids = {"site": "here", "action_execution_id": attempt.id}
        child = {"id": f"c-{self.number}", "status": "running", "context": {"mistral": ids}}
        attempt.children.append(child | ({"result_size": LARGE} if large else {}))

    @rule(which=WHICH, large=st.booleans())
    def executor_runs(self, which: int, large: bool) -> None:
        """Create an execution; look it up first when it is late.

        The executor does not know the state of the action in Mistral.

        For another StackStorm it creates nothing here.
        """
        attempt = self.attempt(which)
        late = self.now - attempt.created > 30
        runs = not attempt.lost and not (late and attempt.children)
        if runs and attempt.inputs.request is not None:
            self.create_child(attempt, large=large)
        attempt.lost = True

    @rule(which=WHICH)
    def post_arrives_twice(self, which: int) -> None:
        """Or that of a slow executor after that of a relay: there is a duplicate."""
        attempt = self.attempt(which)
        if len(attempt.children) == 1:
            self.create_child(attempt)

    @rule(which=WHICH)
    def executor_dies(self, which: int) -> None:
        self.attempt(which).lost = True

    @rule(which=WHICH, heard=HEARD, status=st.sampled_from(STATUSES))
    def child_changes(self, which: int, heard: int, status: str) -> None:
        attempt = self.attempt(which)
        child = attempt.child(heard)
        if child is None:
            return
        if child["status"] in states.ST2_FINAL:
            if status == "deleted" and attempt.vanished is None:
                # The relay knew of it. Otherwise it could not tell it from one that never existed.
                attempt.children.remove(child)
                attempt.vanished, attempt.missed_since = child["id"], self.now
        elif status == "canceling":
            if child["status"] != "pending":
                child["status"] = status
        elif status == "pending":
            if child["status"] == "running":
                child["status"] = status
                self.root = "paused" if self.root == "running" else self.root
        elif status != "deleted":
            self.end_child(child, status)

    def end_child(self, child: dict[str, Any], status: str) -> None:
        child["status"] = "canceled" if child["status"] == "canceling" else status
        if "result_size" not in child:
            child["result"] = {"of": child["id"]}

    @rule(root=st.sampled_from(["running", "pausing", "paused", "canceled"]))
    def root_changes(self, root: str) -> None:
        self.root = root

    @rule(post=st.sampled_from(sorted(POSTS)))
    def stackstorm_changes(self, post: str) -> None:
        self.post = post

    @rule(seconds=st.sampled_from([1, 31, 121, 601]), relays=st.booleans())
    def time_passes(self, seconds: int, relays: bool) -> None:
        """Let time pass, with a resync every 30 seconds unless no relay runs."""
        for _ in range(seconds // 30 + 1):
            self.now += min(30, seconds)
            for which in range(len(self.attempts) if relays else 0):
                self.relay_reconciles(which, heard=1, sure=False)
                self.relay_cancels_duplicates(which)

    def attempt(self, which: int) -> Attempt:
        return self.attempts[-1 - which % len(self.attempts)]

    @rule(access=st.sampled_from(["open", "open", "open", "closed", "hidden"]))
    def access_changes(self, access: str) -> None:
        """Give or take the relay's role on the project.

        :param access: hidden: none, and Mistral does not show the action either, as 20.2 does.
        """
        self.access = access

    # -- the relays ----------------------------------------------------------------------------------

    @rule(which=WHICH, heard=HEARD, sure=st.booleans())
    def relay_reconciles(self, which: int, heard: int, sure: bool) -> None:
        """Reconcile one action.

        :param heard: the child that the relay knows; none, although there may be some, for 0.
        :param sure: the relay knows that no earlier child exists.
        """
        attempt = self.attempt(which)
        known = attempt.child(heard - 1) if heard else None
        seen = self.observe(attempt, known)
        seen = replace(seen, is_first=sure and known is not None and known is attempt.children[0])
        looks: list[Look] = []
        effect = decide(seen, RULES)
        while (again := self.carry_out(attempt, seen, effect)) is not None:
            if isinstance(effect, Look):
                looks.append(effect)
                # The inputs and a large result are read once, the children once more after a POST.
                assert looks.count(effect) <= (2 if effect is Look.CHILDREN else 1)
            seen = again
            effect = decide(seen, RULES)
        failed = isinstance(effect, Wait) and isinstance(effect.error, RemoteError)
        rejected = failed and may_be_for_body(effect.error)
        attempt.rejections = attempt.rejections + 1 if rejected else 0

    def observe(self, attempt: Attempt, child: dict[str, Any] | None) -> Seen:
        action = attempt.shown()
        vanished = None if child else attempt.vanished
        if self.access != "open":
            return Seen(
                action if self.access == "closed" else None,
                base="st2.action",
                child=dict(child) if child else None,
                vanished=vanished,
                age=self.now - attempt.created,
                was_pending=True,
                no_access=CLOSED,
                hidden=self.access == "hidden",
            )
        return Seen(
            action,
            base="st2.action",
            place=Place.of(
                action,
                {"state": self.task},
                self.workflow,
                [other.shown() for other in self.attempts],
            ),
            child=dict(child) if child else None,
            vanished=vanished,
            age=self.now - (attempt.missed_since if vanished else attempt.created),
            retries_exhausted=attempt.rejections >= 3,
        )

    def carry_out(self, attempt: Attempt, seen: Seen, effect: Effect) -> Seen | None:
        first = attempt.children[0] if attempt.children else None
        if self.access != "open":
            assert effect == Wait(CLOSED.reason, no_access=CLOSED)
            return None
        if effect is Look.INPUTS:
            return replace(seen, inputs=attempt.inputs)
        if effect is Look.CHILDREN:
            found = self.observe(attempt, first)
            return replace(
                found,
                children=len(attempt.children),
                inputs=seen.inputs,
                rejection=seen.rejection,
            )
        if effect is Look.RESULT:
            assert seen.child is not None
            assert is_omitted(seen.child)
            whole = {**seen.child, "result": {"of": seen.child["id"]}}
            return replace(seen, child=whole, whole=True)
        if effect is Look.ROOT:
            return replace(seen, root={"id": "r", "status": self.root}, root_observed=True)
        if isinstance(effect, Resume):
            assert self.is_given_up(attempt), "Mistral waits for the answer"
            assert attempt is self.attempts[-1], "it may be paused for a newer attempt"
            assert self.root == "paused"
            assert seen.child is not None
            assert seen.child["status"] == "pending"
            self.root = "running"
            return replace(seen, root=None)
        if isinstance(effect, Schedule):
            return self.schedule(attempt, seen, effect)
        if isinstance(effect, Complete):
            assert attempt.state == "RUNNING"
            assert first is not None
            assert effect.output["st2"]["execution_id"] == first["id"], "a duplicate's result"
            assert effect.output.get("of", first["id"]) == first["id"]
            self.end(attempt, effect.state, dict(effect.output))
        elif isinstance(effect, Close):
            pending = seen.child is not None and seen.child["status"] == "pending"
            assert first is None or pending, "an action that has a child"
            assert bool(effect.unanswered) == pending
            assert not pending or (self.root not in ("paused", "pausing") or len(self.attempts) > 1)
            assert not attempt.inputs.elsewhere or attempt.vanished
            self.end(attempt, effect.state, {"error": effect.reason})
        elif isinstance(effect, Cancel):
            [child] = [c for c in attempt.children if c["id"] == effect.execution_id]
            assert self.is_given_up(attempt), "a child that Mistral waits for"
            assert child["status"] != "pending", "StackStorm must refuse it"
            child["status"] = "canceling"
        else:
            assert isinstance(effect, Wait)
        return None

    def schedule(self, attempt: Attempt, seen: Seen, effect: Schedule) -> Seen | None:
        assert not attempt.children
        assert attempt.vanished is None
        assert effect.request is attempt.inputs.request
        error, created = POSTS[self.post]
        if created:
            self.create_child(attempt)
        if isinstance(error, (Answered, OutcomeUnknown)):
            return replace(seen, rejection=error, children=None)
        return None

    @rule(which=WHICH)
    def relay_cancels_duplicates(self, which: int) -> None:
        attempt = self.attempt(which)
        if self.access != "open":
            closed = self.observe(attempt, None)
            for children in (None, attempt.children):
                found = decide_duplicates(closed, children)
                assert found == Wait(CLOSED.reason, no_access=CLOSED)
            return
        seen = Seen(attempt.shown(), "st2.action")
        assert decide_duplicates(seen, None) is Look.CHILDREN
        effects = decide_duplicates(seen, attempt.children)
        assert isinstance(effects, tuple)
        for effect in effects:
            [child] = [c for c in attempt.children[1:] if c["id"] == effect.execution_id]
            assert child["status"] != "pending", "StackStorm must refuse it"
            child["status"] = "canceling"

    def is_given_up(self, attempt: Attempt) -> bool:
        return (
            attempt.state in states.MISTRAL_FINAL
            or self.workflow == "CANCELLED"
            or self.task != "RUNNING"
            or attempt is not self.attempts[-1]
        )

    # -- what must hold ------------------------------------------------------------------------------

    @invariant()
    def task_is_ended_by_its_newest_attempt(self) -> None:
        if self.ended_by is not None and self.workflow != "CANCELLED":
            assert self.ended_by == self.attempts[-1].id

    @invariant()
    def lost_action_for_another_stackstorm_is_left_alone(self) -> None:
        for attempt in self.attempts:
            if attempt.inputs.elsewhere:
                assert not attempt.children
                assert attempt.state == "RUNNING"

    def teardown(self) -> None:
        """Nothing more goes wrong: everything comes to an end."""
        if not hasattr(self, "attempts"):
            return
        self.post, self.root, self.access = "created", "running", "open"
        if self.task == "DELAYED":
            self.task_is_retried(children=0)
        for _ in range(4):
            for which in range(len(self.attempts)):
                self.executor_dies(which)
                self.relay_reconciles(which, heard=1, sure=False)
                self.relay_cancels_duplicates(which)
                attempt = self.attempt(which)
                running = [child for child in attempt.children if child["status"] == "running"]
                assert len(running) <= (not self.is_given_up(attempt))
                for child in attempt.children:
                    if child["status"] not in states.ST2_FINAL:
                        self.end_child(child, "succeeded")
            self.time_passes(601, relays=True)
        if self.kind != "elsewhere":
            assert [attempt.state for attempt in self.attempts if attempt.state == "RUNNING"] == []
            assert self.task in states.TASK_FINAL
        for attempt in self.attempts:
            assert all(child["status"] in states.ST2_FINAL for child in attempt.children)


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
