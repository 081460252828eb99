from __future__ import annotations

import pytest
from support.clock import Clock

from st2actions_mistral.relay.actions.index import LARGE_RESULT, Gone, Index


def test_first_child_that_was_added_counts_until_a_listing_shows_another() -> None:
    index = Index()
    assert index.add("a-1", "x")
    assert index.add("a-1", "x")
    assert not index.add("a-1", "y")
    assert not index.is_first("a-1", "x")
    index.set_first("a-1", "y")
    assert index.snapshot() == {"a-1": "y"}
    assert index.is_first("a-1", "y")
    assert not index.is_first("a-1", "x")
    index.forget("a-1")
    assert index.snapshot() == {}


def test_listed_child_is_in_doubt_once_another_one_is_added() -> None:
    index = Index()
    index.set_first("a-1", "x")
    assert index.add("a-1", "x")
    assert index.is_first("a-1", "x")
    assert not index.add("a-1", "y")
    assert not index.is_first("a-1", "x")
    assert index.snapshot() == {"a-1": "x"}


def test_child_that_is_added_again_must_be_listed_again() -> None:
    index = Index()
    index.set_first("a-1", "x")
    index.retain(set(), index.snapshot())
    index.add("a-1", "x")
    assert not index.is_first("a-1", "x")
    index.set_first("a-1", "x")
    index.forget("a-1")
    index.add("a-1", "x")
    assert not index.is_first("a-1", "x")


def test_first_added_child_is_the_first_while_the_stream_is_complete() -> None:
    index = Index()
    index.add("early", "x")
    index.set_streaming(True)
    epoch = index.epoch()
    assert not index.is_first("early", "x")
    index.mark_listed(epoch)
    index.add("late", "y")
    assert index.is_first("late", "y")
    index.add("late", "z")
    assert not index.is_first("late", "y")
    index.set_first("late", "y")
    assert index.is_first("late", "y")


@pytest.mark.parametrize("gap", ["before", "within", "after", "no stream"])
def test_stream_with_a_gap_is_not_complete(gap: str) -> None:
    index = Index()
    if gap != "no stream":
        index.set_streaming(True)
    if gap == "before":
        index.set_streaming(False)
    epoch = index.epoch()
    if gap == "within":
        index.set_streaming(False)
        index.set_streaming(True)
    index.mark_listed(epoch)
    if gap == "after":
        index.set_streaming(False)
        # It is complete only after the next listing.
        index.set_streaming(True)
    index.add("a-1", "x")
    assert not index.is_first("a-1", "x")


def test_retain_keeps_children_that_were_added_during_the_listing() -> None:
    index = Index()
    index.add("pending", "1")
    index.add("done", "2")
    before = index.snapshot()
    index.add("new", "3")
    assert index.retain({"pending"}, before) == {"done": Gone("2", was_pending=False)}
    assert index.snapshot() == {"pending": "1", "new": "3"}


def test_retain_returns_gone_children_until_they_are_forgotten() -> None:
    index = Index()
    index.add("mine", "child of mine")
    assert index.retain({"mine"}, {}) == {}
    index.add("other", "child of other")
    gone = {
        "mine": Gone("child of mine", was_pending=True),
        "other": Gone("child of other", was_pending=False),
    }
    assert index.retain(set(), index.snapshot()) == gone
    assert index.retain(set(), index.snapshot()) == gone
    assert index.child_of("mine") == "child of mine"
    assert index.was_pending("mine")
    assert not index.was_pending("other")
    index.forget("mine")
    index.forget("other")
    assert index.retain(set(), index.snapshot()) == {}
    assert index.child_of("mine") is None


def test_retain_takes_back_an_action_that_is_pending_after_all() -> None:
    index = Index()
    index.add("mine", "1")
    index.retain({"mine"}, {})
    assert index.retain(set(), index.snapshot()) == {"mine": Gone("1", was_pending=True)}
    assert index.retain({"mine"}, index.snapshot()) == {}
    assert index.snapshot() == {"mine": "1"}


def test_retain_leaves_out_what_was_forgotten_during_the_listing() -> None:
    index = Index()
    index.add("mine", "1")
    index.retain({"mine"}, {})
    before = index.snapshot()
    index.forget("mine")
    assert index.retain(set(), before) == {}


def test_missing_for_counts_from_the_first_time() -> None:
    clock = Clock()
    index = Index(clock=clock)
    assert index.missing_for("a") == 0
    clock.advance(5)
    assert index.missing_for("a") == 5
    index.mark_found("a")
    assert index.missing_for("a") == 0


def test_action_that_is_added_again_was_still_pending() -> None:
    """For example by the event of a child that cannot be cancelled for the moment."""
    index = Index()
    index.add("mine", "1")
    index.retain({"mine"}, {})
    index.retain(set(), index.snapshot())
    index.add("mine", "1")
    assert index.retain(set(), index.snapshot()) == {"mine": Gone("1", was_pending=True)}


def test_pending_actions_are_remembered_for_an_hour() -> None:
    clock = Clock()
    index = Index(clock=clock)
    index.retain({"mine"}, {})
    clock.advance(1800)
    index.retain({"other"}, {})
    clock.advance(1799)
    assert index.was_pending("mine")
    clock.advance(1)
    index.retain(set(), {})
    assert not index.was_pending("mine")
    assert index.was_pending("other")
    assert not index.was_pending("never seen")


def test_action_that_is_pending_again_is_remembered_from_then_on() -> None:
    clock = Clock()
    index = Index(clock=clock)
    index.retain(["mine", "other"], {})
    clock.advance(3000)
    index.retain(["mine"], {})
    clock.advance(3000)
    index.retain(set(), {})
    assert index.was_pending("mine")
    assert not index.was_pending("other")


def test_number_of_remembered_actions_is_bounded() -> None:
    index = Index(limit=2)
    for pending in (["a"], ["b"], ["c"], ["d", "e", "f"]):
        index.retain(pending, {})
    assert {action for action in "abcdef" if index.was_pending(action)} == set("bcdef")
    index.retain([], {})
    assert {action for action in "abcdef" if index.was_pending(action)} == {"e", "f"}


def test_result_is_kept_until_it_is_taken() -> None:
    index = Index()
    child = {"id": "x", "result": {}}
    index.put_result("a", child)
    assert index.take_result("a") == child
    assert index.take_result("a") is None
    index.put_result("a", child)
    index.forget("a")
    assert index.take_result("a") is None


def test_number_of_kept_results_is_bounded() -> None:
    index = Index(results=2)
    for action in "abc":
        index.put_result(action, {"id": action, "result": {}})
    index.put_result("b", {"id": "newer", "result": {}})
    taken = [index.take_result(action) for action in "abc"]
    assert [child and child["id"] for child in taken] == ["a", "newer", None]


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"result": {}, "result_size": LARGE_RESULT + 1}, False),
        ({"result": {}, "result_size": LARGE_RESULT}, True),
        ({"result": {}, "result_size": None}, True),
        ({"result_size": 10}, False),
    ],
)
def test_large_result_is_not_kept(more: dict[str, object], kept: bool) -> None:
    index = Index()
    index.put_result("a", {"id": "x", **more})
    assert (index.take_result("a") is not None) is kept
