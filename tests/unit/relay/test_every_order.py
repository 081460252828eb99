"""The relay's decisions in every order of events: a small world, and what must hold in it.

The world keeps the rules that Mistral and StackStorm were measured to keep: any final state of any
action of a task that has not ended ends the task; nothing happens to one that has; an executor that is
killed loses what it had not sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

from st2actions_mistral.model import states
from st2actions_mistral.relay.reconcile import (
    Adopt,
    Cancel,
    Complete,
    Place,
    Rules,
    Seen,
    settle,
)

RULES = Rules("here", 1024, reschedule_after=120, lost_after=600, cancel_orphans=True)
FINALS = sorted(states.ST2_FINAL - {"canceled"})


@dataclass
class Attempt:
    """An action execution of the task, and what became of it."""

    id: str
    created: float
    state: str = "RUNNING"
    output: dict[str, Any] | None = None
    lost: bool = False
    """No executor will run it."""
    children: list[dict[str, Any]] = field(default_factory=list)
    vanished: str | None = None
    missed_since: float = 0

    def shown(self) -> dict[str, Any]:
        moment = datetime(2026, 11, 23, tzinfo=timezone.utc) + timedelta(seconds=self.created)
        return {
            "id": self.id,
            "name": "st2.action",
            "state": self.state,
            "created_at": moment.strftime("%Y-%m-%d %H:%M:%S"),
        }


class World(RuleBasedStateMachine):
    """One workflow with one task of two attempts, two relays, one StackStorm."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.workflow = "RUNNING"
        self.task = "RUNNING"
        self.ended_by: str | None = None
        self.attempts = [Attempt("a-0", 0)]
        self.number = 0

    # -- Mistral -------------------------------------------------------------------------------------

    @rule()
    def the_workflow_is_cancelled(self) -> None:
        if self.workflow == "RUNNING" and self.task not in states.TASK_FINAL:
            self.workflow = "CANCELLED"

    @precondition(lambda self: self.task == "RUNNING" and self.workflow == "RUNNING")
    @rule()
    def the_task_times_out(self) -> None:
        self.now += 1
        self.task = "DELAYED" if len(self.attempts) == 1 else "ERROR"

    @precondition(lambda self: self.task == "DELAYED")
    @rule()
    def it_is_tried_again(self) -> None:
        self.task = "RUNNING"
        self.attempts.append(Attempt(f"a-{len(self.attempts)}", self.now))

    def end(self, attempt: Attempt, effect: Complete) -> None:
        if attempt.state in states.MISTRAL_FINAL:
            return
        attempt.state, attempt.output = effect.state, dict(effect.output)
        if self.task not in states.TASK_FINAL:
            self.task = effect.state
            self.ended_by = attempt.id

    # -- executors and StackStorm --------------------------------------------------------------------

    def make_child(self, attempt: Attempt) -> None:
        self.number += 1
        attempt.children.append(
            {
                "id": f"c-{self.number}",
                "status": "running",
                "context": {"mistral": {"site": "here", "action_execution_id": attempt.id}},
            }
        )

    @rule(which=st.integers(0, 1))
    def an_executor_runs(self, which: int) -> None:
        if which < len(self.attempts):
            attempt = self.attempts[which]
            # It does not know what Mistral made of the action; when late it looks for a child first.
            late = self.now - attempt.created > 30
            if not attempt.lost and not (late and attempt.children):
                self.make_child(attempt)
            attempt.lost = True

    @rule(which=st.integers(0, 1))
    def an_executor_dies(self, which: int) -> None:
        if which < len(self.attempts):
            self.attempts[which].lost = True

    @rule(which=st.integers(0, 1), status=st.sampled_from(FINALS))
    def a_child_ends(self, which: int, status: str) -> None:
        for child in self.children(which):
            if child["status"] == "running":
                child.update(status=status, result={"of": child["id"]})
            elif child["status"] == "canceling":
                child.update(status="canceled", result={})

    @rule(which=st.integers(0, 1))
    def a_child_is_cancelled_in_stackstorm(self, which: int) -> None:
        for child in self.children(which):
            if child["status"] == "running":
                child["status"] = "canceling"

    @rule(which=st.integers(0, 1))
    def a_child_is_deleted(self, which: int) -> None:
        for child in self.children(which):
            if child["status"] in states.ST2_FINAL:
                attempt = self.attempts[which]
                # The relay had noted it; else it could not tell it from one that never was.
                attempt.children.remove(child)
                attempt.vanished, attempt.missed_since = child["id"], self.now

    @rule(seconds=st.sampled_from([1, 29, 31, 119, 121, 601]))
    def time_passes(self, seconds: int) -> None:
        # The relay looks at everything more often than an action gets old.
        for _ in range(seconds // 30 + 1):
            self.now += min(30, seconds)
            for which in range(len(self.attempts)):
                self.a_relay_looks(which)

    def children(self, which: int) -> list[dict[str, Any]]:
        return self.attempts[which].children[:] if which < len(self.attempts) else []

    # -- the relays ----------------------------------------------------------------------------------

    @rule(which=st.integers(0, 1))
    def a_relay_looks(self, which: int) -> None:
        if which >= len(self.attempts):
            return
        attempt = self.attempts[which]
        action = attempt.shown()
        child = attempt.children[0] if attempt.children else None
        seen = Seen(
            action,
            base="st2.action",
            place=Place.of(
                action,
                {"state": self.task},
                {"state": self.workflow},
                [other.shown() for other in self.attempts],
            ),
            child=child,
            vanished=None if child else attempt.vanished,
            age=self.now - (attempt.missed_since if attempt.vanished else attempt.created),
        )
        effect = settle(seen, RULES)
        if isinstance(effect, Complete):
            assert attempt.state == "RUNNING"
            self.end(attempt, effect)
        elif isinstance(effect, Cancel):
            assert child is not None
            assert effect.execution_id == child["id"]
            assert self.is_given_up(attempt), "a child that somebody waits for"
            child["status"] = "canceling"
        elif isinstance(effect, Adopt):
            assert not attempt.children
            assert attempt.vanished is None
            self.make_child(attempt)

    def is_given_up(self, attempt: Attempt) -> bool:
        return (
            attempt.state in states.MISTRAL_FINAL
            or self.workflow == "CANCELLED"
            or self.task != "RUNNING"
            or attempt is not self.attempts[-1]
        )

    # -- what must hold ------------------------------------------------------------------------------

    @invariant()
    def no_action_has_two_children(self) -> None:
        for attempt in self.attempts:
            assert len(attempt.children) <= 1

    @invariant()
    def a_task_is_ended_by_its_newest_attempt(self) -> None:
        if self.ended_by is not None and self.workflow != "CANCELLED":
            assert self.ended_by == self.attempts[-1].id

    @invariant()
    def an_action_has_its_own_childs_result(self) -> None:
        for attempt in self.attempts:
            if attempt.output and "of" in attempt.output:
                assert attempt.output["of"] == attempt.output["st2"]["execution_id"]
                # A run that begins once its child is delivered and deleted makes another: cancelled.
                if attempt.children and attempt.vanished != attempt.output["of"]:
                    assert attempt.children[0]["id"] == attempt.output["of"]

    def teardown(self) -> None:
        """Nothing more goes wrong: everything comes to an end."""
        if not hasattr(self, "attempts"):
            return
        if self.task == "DELAYED":
            self.it_is_tried_again()
        for _ in range(4):
            for which in range(len(self.attempts)):
                self.an_executor_dies(which)
                self.a_relay_looks(which)
                attempt = self.attempts[which]
                if self.is_given_up(attempt):
                    assert "running" not in {child["status"] for child in attempt.children}
                self.a_child_ends(which, "succeeded")
            self.time_passes(601)
        assert [attempt.state for attempt in self.attempts if attempt.state == "RUNNING"] == []
        assert self.task in states.TASK_FINAL
        for attempt in self.attempts:
            assert all(child["status"] in states.ST2_FINAL for child in attempt.children)


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
