"""The values of the datastore that are kept for a few seconds."""

from __future__ import annotations

import pytest
from support.clock import Clock

from st2actions_mistral.functions.key_cache import KeyCache


class Reader:
    """Count how often a value is read."""

    def __init__(self, value: str = "v") -> None:
        self.value = value
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"{self.value}{self.times}"


def test_value_is_read_once_until_it_is_old() -> None:
    clock, read = Clock(), Reader()
    cache = KeyCache(5, clock=clock)
    assert [cache.get("a", read), cache.get("a", read)] == ["v1", "v1"]
    clock.now += 4.9
    assert cache.get("a", read) == "v1"
    clock.now += 0.1
    assert cache.get("a", read) == "v2"
    assert len(cache) == 1


def test_other_keys_have_other_values() -> None:
    cache = KeyCache(clock=Clock())
    assert cache.get(("ada", "k"), Reader("a")) == "a1"
    assert cache.get(("bob", "k"), Reader("b")) == "b1"
    assert cache.get(("ada", "k"), Reader("c")) == "a1"


def test_oldest_value_goes_first() -> None:
    cache = KeyCache(keys=2, clock=Clock())
    for key in "abc":
        cache.get(key, Reader())
    assert len(cache) == 2
    again = Reader("again")
    assert [cache.get(key, again) for key in "bca"] == ["v1", "v1", "again1"]


def test_long_value_is_not_kept() -> None:
    cache, read = KeyCache(longest=2, clock=Clock()), Reader("long")
    assert [cache.get("a", read), cache.get("a", read)] == ["long1", "long2"]
    assert len(cache) == 0


def test_error_is_not_kept() -> None:
    cache = KeyCache(clock=Clock())

    def fail() -> str:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        cache.get("a", fail)
    assert cache.get("a", Reader()) == "v1"


def test_clear_forgets_all_values() -> None:
    cache, read = KeyCache(clock=Clock()), Reader()
    cache.get("a", read)
    cache.clear()
    assert cache.get("a", read) == "v2"
