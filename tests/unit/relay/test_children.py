"""Which child belongs to which action."""

from __future__ import annotations

from st2actions_mistral.relay.children import Children


def test_the_first_counts_until_it_is_known_better() -> None:
    children = Children()
    assert children.note("a-1", "x")
    assert children.note("a-1", "x")
    assert not children.note("a-1", "y")
    children.correct("a-1", "y")
    assert children.snapshot() == {"a-1": "y"}
    children.correct("a-2", "y")
    children.forget("a-1")
    assert children.snapshot() == {}


def test_those_heard_of_meanwhile_are_not_forgotten() -> None:
    children = Children()
    children.note("waits", "1")
    children.note("done", "2")
    before = children.snapshot()
    children.note("new", "3")
    assert children.keep({"waits"}, before) == {}
    assert children.snapshot() == {"waits": "1", "new": "3"}


def test_what_was_seen_waiting_and_waits_no_more_is_told_until_it_is_forgotten() -> None:
    children = Children()
    for action in ("mine", "other"):
        children.note(action, f"child of {action}")
    assert children.keep({"mine"}, {}) == {}
    told = {"mine": "child of mine"}
    assert children.keep(set(), children.snapshot()) == told
    assert children.keep(set(), children.snapshot()) == told
    children.forget("mine")
    assert children.keep(set(), children.snapshot()) == {}


def test_what_had_not_gone_is_kept() -> None:
    children = Children()
    children.note("mine", "1")
    children.keep({"mine"}, {})
    assert children.keep(set(), children.snapshot()) == {"mine": "1"}
    assert children.keep({"mine"}, children.snapshot()) == {}
    assert children.snapshot() == {"mine": "1"}


def test_what_we_settled_ourselves_is_not_told() -> None:
    children = Children()
    children.note("mine", "1")
    children.keep({"mine"}, {})
    before = children.snapshot()
    children.forget("mine")
    assert children.keep(set(), before) == {}


def test_a_child_is_missed_since_it_was_not_found_first() -> None:
    now = [100.0]
    children = Children(clock=lambda: now[0])
    assert children.missed_for("a") == 0
    now[0] += 5
    assert children.missed_for("a") == 5
    children.found("a")
    assert children.missed_for("a") == 0
