"""Which child belongs to which action."""

from __future__ import annotations

import pytest

from st2actions_mistral.relay import children as children_module
from st2actions_mistral.relay.children import Children, Left


def test_the_first_counts_until_it_is_known_better() -> None:
    children = Children()
    assert children.note("a-1", "x")
    assert children.note("a-1", "x")
    assert not children.note("a-1", "y")
    assert not children.is_first("a-1", "x")
    children.listed("a-1", "y")
    assert children.snapshot() == {"a-1": "y"}
    assert children.is_first("a-1", "y")
    assert not children.is_first("a-1", "x")
    children.forget("a-1")
    assert children.snapshot() == {}


def test_what_was_listed_first_is_in_doubt_once_another_one_is_heard_of() -> None:
    children = Children()
    children.listed("a-1", "x")
    assert children.note("a-1", "x")
    assert children.is_first("a-1", "x")
    assert not children.note("a-1", "y")
    assert not children.is_first("a-1", "x")
    assert children.snapshot() == {"a-1": "x"}


def test_what_is_heard_of_again_has_to_be_listed_again() -> None:
    children = Children()
    children.listed("a-1", "x")
    children.keep(set(), children.snapshot())
    children.note("a-1", "x")
    assert not children.is_first("a-1", "x")
    children.listed("a-1", "x")
    children.forget("a-1")
    children.note("a-1", "x")
    assert not children.is_first("a-1", "x")


def test_who_hears_of_all_knows_the_first() -> None:
    children = Children()
    children.note("early", "x")
    children.follow(True)
    begun = children.stretch()
    assert not children.is_first("early", "x")
    children.compared(begun)
    children.note("late", "y")
    assert children.is_first("late", "y")
    children.note("late", "z")
    assert not children.is_first("late", "y")
    children.listed("late", "y")
    assert children.is_first("late", "y")


@pytest.mark.parametrize("gap", ["before", "within", "after", "none was followed"])
def test_with_a_gap_not_all_has_been_heard_of(gap: str) -> None:
    children = Children()
    if gap != "none was followed":
        children.follow(True)
    if gap == "before":
        children.follow(False)
    begun = children.stretch()
    if gap == "within":
        children.follow(False)
        children.follow(True)
    children.compared(begun)
    if gap == "after":
        children.follow(False)
        # Nor is it again before the next comparison.
        children.follow(True)
    children.note("a-1", "x")
    assert not children.is_first("a-1", "x")


def test_those_heard_of_meanwhile_are_not_forgotten() -> None:
    children = Children()
    children.note("waits", "1")
    children.note("done", "2")
    before = children.snapshot()
    children.note("new", "3")
    assert children.keep({"waits"}, before) == {"done": Left("2", waited=False)}
    assert children.snapshot() == {"waits": "1", "new": "3"}


def test_what_waits_no_more_is_told_until_it_is_forgotten() -> None:
    children = Children()
    children.note("mine", "child of mine")
    assert children.keep({"mine"}, {}) == {}
    children.note("other", "child of other")
    told = {"mine": Left("child of mine", waited=True), "other": Left("child of other", waited=False)}
    assert children.keep(set(), children.snapshot()) == told
    assert children.keep(set(), children.snapshot()) == told
    children.forget("mine")
    children.forget("other")
    assert children.keep(set(), children.snapshot()) == {}


def test_what_waits_after_all_is_kept() -> None:
    children = Children()
    children.note("mine", "1")
    children.keep({"mine"}, {})
    assert children.keep(set(), children.snapshot()) == {"mine": Left("1", waited=True)}
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


def test_what_has_waited_has_done_so_also_when_it_is_heard_of_again() -> None:
    """As by the event of a child that cannot be cancelled for the moment."""
    children = Children()
    children.note("mine", "1")
    children.keep({"mine"}, {})
    children.keep(set(), children.snapshot())
    children.note("mine", "1")
    assert children.keep(set(), children.snapshot()) == {"mine": Left("1", waited=True)}


def waited(children: Children, action: str) -> bool:
    """Whether a child that is heard of now belongs to an action that was seen waiting."""
    children.note(action, "late")
    found = children.keep(set(), children.snapshot())[action].waited
    children.forget(action)
    return found


def test_what_has_waited_is_remembered_for_an_hour() -> None:
    now = [0.0]
    children = Children(clock=lambda: now[0])
    children.keep({"mine"}, {})
    now[0] += 1800
    children.keep({"other"}, {})
    now[0] += 1799
    assert waited(children, "mine")
    now[0] += 1
    children.keep(set(), {})
    assert not waited(children, "mine")
    assert waited(children, "other")
    assert not waited(children, "never seen")


def test_who_waits_again_is_remembered_from_then_on() -> None:
    now = [0.0]
    children = Children(clock=lambda: now[0])
    children.keep(["mine", "other"], {})
    now[0] += 3000
    children.keep(["mine"], {})
    now[0] += 3000
    children.keep(set(), {})
    assert waited(children, "mine")
    assert not waited(children, "other")


def test_only_so_many_are_remembered_beside_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children_module, "_MOST", 2)
    children = Children()
    for waiting in (["a"], ["b"], ["c"], ["d", "e", "f"]):
        children.keep(waiting, {})
    for action in "abcdef":
        children.note(action, "late")
    found = children.keep([], children.snapshot())
    assert {action for action, left in found.items() if left.waited} == set("bcdef")
    assert set(children._waited) == {"e", "f"}
