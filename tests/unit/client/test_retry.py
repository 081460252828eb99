from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from st2actions_mistral.client.retry import policy
from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.errors import Answered, InputError, NotSent, OutcomeUnknown, RemoteError

MINUTE = Timeouts(retry_deadline=60)


class Call:
    """Raise each of the given errors once, then return. Record the pauses."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.tries = 0
        self.pauses: list[float] = []

    def __call__(self) -> str:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def not_sent(**more: bool | float) -> NotSent:
    return NotSent("POST", "http://x", "refused", **more)  # type: ignore[arg-type]


def unknown(retry_after: float | None = None) -> OutcomeUnknown:
    return OutcomeUnknown("POST", "http://x", "reset", retry_after=retry_after)


@pytest.mark.parametrize(
    "error", [not_sent(), Answered("GET", "http://x", 429, "Slow down."), unknown()]
)
def test_retryable_errors_are_retried(error: RemoteError) -> None:
    call = Call(error, error)
    assert policy(MINUTE, sleep=call.sleep)(call) == "done"
    assert call.tries == 3


@pytest.mark.parametrize(
    "error",
    [
        not_sent(permanent=True),
        *(Answered("GET", "http://x", status, "") for status in (302, 400, 401, 403, 404, 409)),
        InputError("ref", "bad"),
        RemoteError("GET", "http://x", "odd"),
        KeyError("a mistake"),
    ],
)
def test_final_errors_are_raised_unchanged(error: Exception) -> None:
    call = Call(error)
    with pytest.raises(type(error)) as caught:
        policy(MINUTE, sleep=call.sleep)(call)
    assert caught.value is error
    assert call.tries == 1


def test_unknown_outcome_is_not_retried_without_repeat_unknown() -> None:
    call = Call(not_sent(), unknown())
    with pytest.raises(OutcomeUnknown):
        policy(MINUTE, repeat_unknown=False, sleep=call.sleep)(call)
    assert call.tries == 2


@pytest.mark.parametrize("build", [unknown, lambda after: not_sent(retry_after=after)])
def test_retry_after_is_obeyed(build: Callable[[float], RemoteError]) -> None:
    call = Call(build(17), Answered("GET", "http://x", 429, "", retry_after=23), not_sent())
    policy(MINUTE, sleep=call.sleep)(call)
    assert call.pauses[:2] == [17, 23]
    assert call.pauses[2] < 5


def test_retry_after_beyond_the_deadline_ends_the_retries() -> None:
    call = Call(unknown(retry_after=61))
    with pytest.raises(OutcomeUnknown):
        policy(MINUTE, sleep=call.sleep)(call)
    assert (call.tries, call.pauses) == (1, [])


def test_deadline_of_zero_means_one_attempt() -> None:
    call = Call(not_sent(), not_sent())
    with pytest.raises(NotSent):
        policy(Timeouts(retry_deadline=0), sleep=call.sleep)(call)
    assert (call.tries, call.pauses) == (1, [])


def test_deadline_counts_the_time_of_attempts() -> None:
    call = Call(*[not_sent()] * 1_000)
    started = time.monotonic()
    with pytest.raises(NotSent):
        policy(Timeouts(retry_deadline=0.6))(call)
    assert time.monotonic() - started < 0.7
    assert 2 <= call.tries <= 8


def test_pauses_are_random_and_grow_within_bounds() -> None:
    firsts, lasts = set(), []
    for _ in range(20):
        call = Call(*[not_sent()] * 12)
        policy(Timeouts(retry_deadline=10_000), sleep=call.sleep)(call)
        firsts.add(call.pauses[0])
        lasts.append(call.pauses[-1])
        assert all(0.1 <= pause <= 10 for pause in call.pauses)
        assert call.pauses[0] <= 0.4
    assert len(firsts) > 1
    assert max(lasts) > 2


def test_stop_ends_a_pause_and_the_retries() -> None:
    stop = threading.Event()
    error = unknown(retry_after=30)
    call = Call(error, error)
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown) as caught:
        policy(MINUTE, stop=stop)(call)
    timer.join()
    assert caught.value is error
    assert call.tries == 1
    assert time.monotonic() - started < 5


def test_stopped_policy_makes_one_attempt() -> None:
    stop = threading.Event()
    stop.set()
    call = Call(unknown(), unknown())
    with pytest.raises(OutcomeUnknown):
        policy(MINUTE, stop=stop)(call)
    assert call.tries == 1
    assert policy(MINUTE, stop=stop)(call.__class__()) == "done"


def test_unused_stop_changes_nothing() -> None:
    call = Call(unknown(), not_sent())
    assert policy(MINUTE, stop=threading.Event())(call) == "done"
    assert call.tries == 3


def test_each_retry_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    call = Call(not_sent())
    policy(MINUTE, sleep=call.sleep)(call)
    assert "POST http://x: refused" in caplog.text
    assert "attempt 2" in caplog.text
