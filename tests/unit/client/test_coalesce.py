from __future__ import annotations

import gc
import itertools
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from support.clock import Clock
from support.waiting import eventually

from st2actions_mistral.client.coalesce import Coalesced


class Asked:
    """Answers with the number of questions so far."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    def __call__(self, key: str) -> int:
        self.keys.append(key)
        number = len(self.keys)
        assert self.may_answer.wait(10)
        if self.error:
            raise self.error
        return number


class Key(str):
    """A key that tells which threads have asked for it.

    ``get`` hashes it when it has read the clock, under the lock under which it joins a request.
    """

    def __init__(self, _: str) -> None:
        self.threads: set[int] = set()

    def __hash__(self) -> int:
        self.threads.add(threading.get_ident())
        return super().__hash__()


def test_answer_is_shared_while_it_is_fresh() -> None:
    asked, clock = Asked(), Clock()
    coalesced = Coalesced(asked, clock=clock)
    assert coalesced.get("a") == 1
    clock.advance(1)
    assert coalesced.get("a", max_age=1) == 1
    assert coalesced.get("a", max_age=0.9) == 2
    assert coalesced.get("b", max_age=1) == 3
    assert asked.keys == ["a", "a", "b"]


def test_questions_during_a_request_share_the_next_one() -> None:
    """The answer to the first request may be older than their question."""
    asked, key = Asked(), Key("a")
    coalesced = Coalesced(asked, clock=itertools.count().__next__)
    asked.may_answer.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(coalesced.get, key)
        eventually(lambda: len(asked.keys) == 1)
        others = [pool.submit(coalesced.get, key) for _ in range(7)]
        # Those that have not asked yet when the answer comes would ask once more.
        eventually(lambda: len(key.threads) == 8)
        asked.may_answer.set()
        assert first.result(10) == 1
        assert {other.result(10) for other in others} == {2}


def test_error_is_raised_for_all_who_share_the_request() -> None:
    asked, key = Asked(), Key("a")
    asked.error = ValueError("no")
    coalesced = Coalesced(asked, clock=itertools.count().__next__)
    asked.may_answer.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(coalesced.get, key)
        eventually(lambda: len(asked.keys) == 1)
        others = [pool.submit(coalesced.get, key) for _ in range(7)]
        eventually(lambda: len(key.threads) == 8)
        asked.may_answer.set()
        assert all(isinstance(call.exception(10), ValueError) for call in (first, *others))
    assert len(asked.keys) == 2


def test_error_is_raised_and_not_kept() -> None:
    asked = Asked()
    coalesced = Coalesced(asked)
    asked.error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        coalesced.get("a", max_age=100)
    asked.error = None
    assert coalesced.get("a", max_age=100) == 2


def test_number_of_kept_answers_is_bounded() -> None:
    asked = Asked()
    coalesced = Coalesced(asked, limit=2)
    for key in "abac":
        coalesced.get(key, max_age=100)
    assert asked.keys == ["a", "b", "c"]
    # "b" was not used for the longest time.
    assert coalesced.get("c", max_age=100) == 3
    assert coalesced.get("a", max_age=100) == 1
    assert coalesced.get("b", max_age=100) == 4


def test_last_answer_stays_after_an_error() -> None:
    asked, clock = Asked(), Clock()
    coalesced = Coalesced(asked, clock=clock)
    assert coalesced.last("a") is None
    coalesced.get("a")
    asked.error = ValueError("no")
    clock.advance(1)
    with pytest.raises(ValueError, match="no"):
        coalesced.get("a")
    assert coalesced.last("a") == 1


def test_forgotten_answer_is_asked_for_again() -> None:
    asked = Asked()
    coalesced = Coalesced(asked)
    coalesced.get("a")
    coalesced.forget("a")
    coalesced.forget("b")
    assert coalesced.get("a", max_age=100) == 2


def test_error_keeps_nothing_alive() -> None:
    """An error holds its traceback, and that the variables of its frames."""
    raised: list[weakref.ref[Exception]] = []

    class Failure(Exception):
        pass

    def ask(_: str) -> int:
        failure = Failure()
        raised.append(weakref.ref(failure))
        raise failure

    coalesced: Coalesced[str, int] = Coalesced(ask)
    with suppress(Failure):
        coalesced.get("a")
    gc.collect()
    assert raised[0]() is None
