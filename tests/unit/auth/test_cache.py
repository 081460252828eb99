"""The record of a credential, and its end."""

from __future__ import annotations

import pytest
from support.clock import Clock

from st2actions_mistral.auth.cache import Answer, Cache
from st2actions_mistral.auth.headers import KEY, TOKEN, Credential
from st2actions_mistral.auth.users import User

ADA = User("ada", frozenset())


def digest(cache: Cache, secret: str) -> bytes:
    return cache.digest(Credential(TOKEN, secret))


def test_accepted_credential_counts_from_the_question_on() -> None:
    clock = Clock()
    cache = Cache(60, clock=clock)
    key, asked = digest(cache, "t"), clock()
    clock.advance(5)
    cache.put(key, ADA, asked, lasts=None)
    clock.advance(54.9)
    assert cache.get(key) == Answer(ADA)
    clock.advance(0.1)
    assert cache.get(key) is None
    assert cache.was_accepted(key)


def test_expiry_of_a_token_comes_before_the_end_of_the_cache() -> None:
    clock = Clock()
    cache = Cache(60, clock=clock)
    key = digest(cache, "t")
    cache.put(key, ADA, clock(), lasts=3)
    clock.advance(2.9)
    assert cache.get(key) == Answer(ADA)
    clock.advance(0.1)
    assert cache.get(key) is None


@pytest.mark.parametrize("lasts", [0, -100])
def test_token_that_has_expired_meanwhile_is_not_kept(lasts: float) -> None:
    cache = Cache(60, clock=Clock())
    key = digest(cache, "t")
    cache.put(key, ADA, 1000, lasts=lasts)
    assert cache.get(key) is None


def test_rejection_is_kept_for_a_short_time() -> None:
    clock = Clock()
    cache = Cache(60, clock=clock)
    key = digest(cache, "t")
    cache.put(key, None, clock(), lasts=None)
    clock.advance(9.9)
    assert cache.get(key) == Answer(None)
    assert not cache.was_accepted(key)
    clock.advance(0.1)
    assert cache.get(key) is None


def test_new_answer_replaces_the_old_one() -> None:
    cache = Cache(60, clock=Clock())
    key = digest(cache, "t")
    for user in (ADA, None, ADA):
        cache.put(key, user, 1000, lasts=None)
        assert cache.get(key) == Answer(user)
        assert len(cache) == 1


def test_guessing_forgets_no_user() -> None:
    cache = Cache(60, limit=10, clock=Clock())
    cache.put(digest(cache, "ada's"), ADA, 1000, lasts=None)
    for number in range(1000):
        cache.put(digest(cache, str(number)), None, 1000, lasts=None)
    assert cache.get(digest(cache, "ada's")) == Answer(ADA)
    assert len(cache) == 11


def test_number_of_users_is_bounded_and_the_oldest_goes() -> None:
    cache = Cache(60, limit=2, clock=Clock())
    for secret in ("1", "2", "1", "3"):
        cache.put(digest(cache, secret), ADA, 1000, lasts=None)
    assert cache.get(digest(cache, "2")) is None
    assert cache.get(digest(cache, "1")) == cache.get(digest(cache, "3")) == Answer(ADA)


def test_no_credential_is_kept_and_hashes_differ_between_processes() -> None:
    token, key = Credential(TOKEN, "canary"), Credential(KEY, "canary")
    one, other = Cache(60), Cache(60)
    assert one.digest(token) == one.digest(token)
    assert len({one.digest(token), other.digest(token), one.digest(key)}) == 3
    one.put(one.digest(token), ADA, 0, lasts=None)
    assert "canary" not in repr(vars(one))
