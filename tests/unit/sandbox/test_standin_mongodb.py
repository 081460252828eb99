"""The simulated replica set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.clock import Clock

from st2_mistral_sandbox.stackstorm.mongodb import ReplicaSet
from st2_mistral_sandbox.stackstorm.runners import ActionFailed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def replica_set(clock: Clock) -> ReplicaSet:
    return ReplicaSet(clock)


def versions(replica_set: ReplicaSet) -> dict[str, str]:
    return {member["name"]: member["version"] for member in replica_set.members()}


def test_rolling_upgrade(replica_set: ReplicaSet, clock: Clock) -> None:
    members = [m["name"] for m in replica_set.check_status("mongo1")["members"]]
    chosen = replica_set.elect_primary(members)
    assert chosen == {"candidate": "mongo2", "secondary": "mongo3"}
    replica_set.upgrade(chosen["candidate"])
    replica_set.upgrade(chosen["secondary"])
    replica_set.freeze(chosen["secondary"], 60)
    replica_set.step_down("mongo1", 60)
    assert replica_set.primary is None
    clock.advance(0.5)
    assert replica_set.primary == chosen["candidate"]
    replica_set.upgrade("mongo1")
    assert set(versions(replica_set).values()) == {"7.0"}
    assert [m["state"] for m in replica_set.members()].count("PRIMARY") == 1


def test_no_primary_without_an_eligible_member(replica_set: ReplicaSet, clock: Clock) -> None:
    replica_set.freeze("mongo2", 10)
    replica_set.freeze("mongo3", 20)
    replica_set.step_down("mongo1", 30)
    clock.advance(9)
    assert replica_set.primary is None
    clock.advance(1)
    assert replica_set.primary == "mongo2"


def test_election_does_not_depend_on_when_the_state_is_read(
    replica_set: ReplicaSet, clock: Clock
) -> None:
    replica_set.freeze("mongo3", 3)
    replica_set.step_down("mongo1", 3)
    clock.advance(3)
    assert replica_set.primary == "mongo2"


def test_frozen_member_is_not_chosen(replica_set: ReplicaSet) -> None:
    replica_set.freeze("mongo2", 10)
    assert replica_set.elect_primary(["mongo2", "mongo3"])["candidate"] == "mongo3"


def test_members_are_accepted_as_names_or_objects(replica_set: ReplicaSet) -> None:
    assert replica_set.elect_primary(replica_set.members())["candidate"] == "mongo2"


def test_invalid_steps_fail(replica_set: ReplicaSet) -> None:
    attempts: list[tuple[Callable[[], Any], str]] = [
        (lambda: replica_set.check_status("mongo2"), "mongo2 is not the primary"),
        (lambda: replica_set.check_status("mongo9"), "mongo9 is not a member"),
        (lambda: replica_set.elect_primary(["mongo1", "mongo2"]), "at least two secondaries"),
        (lambda: replica_set.upgrade("mongo1"), "mongo1 is the primary and cannot be upgraded"),
        (lambda: replica_set.freeze("mongo1", 1), "mongo1 is the primary and cannot be frozen"),
        (lambda: replica_set.step_down("mongo3", 1), "the primary is mongo1"),
    ]
    for attempt, text in attempts:
        with pytest.raises(ActionFailed, match=text):
            attempt()
    assert set(versions(replica_set).values()) == {"6.0"}
