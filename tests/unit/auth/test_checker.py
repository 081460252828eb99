"""The number of questions to StackStorm, and the responses while it does not answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from support.breaking_servers import BreakingServer, raw
from support.clock import Clock
from support.waiting import eventually

from st2actions_mistral.auth.checker import Checker
from st2actions_mistral.auth.headers import KEY, TOKEN, Credential
from st2actions_mistral.auth.refusal import Refusal, Rejected, TooMany, Unavailable
from st2actions_mistral.auth.users import User, Users
from st2actions_mistral.config.auth import AuthSettings
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown

SETTINGS = AuthSettings("http://st2/v1", timeout=30)
ADA = User("ada", frozenset())
AWAY = NotSent("GET", "http://st2/v1/user", "no connection (Connection refused).")


class StackStormUsers:
    """Answers as told, and counts the questions."""

    def __init__(self, *answers: User | Exception | None) -> None:
        """:param answers: one for each question; the last one is for all later ones too."""
        self.answers = list(answers)
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, credential: Credential) -> User | None:
        self.asked.append(credential.secret)
        assert self.open.wait(30)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextmanager
    def hanging(self) -> Iterator[None]:
        self.open.clear()
        try:
            yield
        finally:
            self.open.set()


def token(secret: str = "canary-1") -> Credential:
    return Credential(TOKEN, secret)


def refused(checker: Checker, credential: Credential) -> Refusal:
    with pytest.raises(Refusal) as caught:
        checker.user(credential)
    return caught.value


def test_accepted_credential_is_asked_once_a_minute() -> None:
    clock, users = Clock(), StackStormUsers(ADA)
    checker = Checker(SETTINGS, users, clock=clock)
    for _ in range(20):
        assert checker.user(token()) == ADA
        clock.advance(10)
    assert len(users.asked) == 4


def test_revoked_credential_works_for_a_minute_at_most() -> None:
    clock, users = Clock(), StackStormUsers(ADA, None)
    checker = Checker(SETTINGS, users, clock=clock)
    assert checker.user(token()) == ADA
    clock.advance(59.9)
    assert checker.user(token()) == ADA
    clock.advance(0.1)
    assert isinstance(refused(checker, token()), Rejected)


def test_nothing_is_kept_if_configured() -> None:
    users = StackStormUsers(ADA, None)
    checker = Checker(replace(SETTINGS, cache_seconds=0), users, clock=Clock())
    assert checker.user(token()) == ADA
    assert isinstance(refused(checker, token()), Rejected)


def test_token_is_asked_again_when_it_expires() -> None:
    clock = Clock()
    soon = replace(ADA, expires_at=datetime.now(timezone.utc) + timedelta(seconds=20))
    users = StackStormUsers(soon, None)
    checker = Checker(SETTINGS, users, clock=clock)
    assert checker.user(token()) == soon
    clock.advance(15)
    assert checker.user(token()) == soon
    clock.advance(10)
    assert isinstance(refused(checker, token()), Rejected)


def test_rejected_credential_is_not_asked_each_time() -> None:
    clock, users = Clock(), StackStormUsers(None)
    checker = Checker(SETTINGS, users, clock=clock)
    for _ in range(100):
        assert isinstance(refused(checker, token()), Rejected)
    assert len(users.asked) == 1
    clock.advance(10)
    refused(checker, token())
    assert len(users.asked) == 2


def test_rejection_names_the_header_and_the_next_step() -> None:
    checker = Checker(SETTINGS, StackStormUsers(None), clock=Clock())
    for header in (TOKEN, KEY):
        text = str(refused(checker, Credential(header, "canary-1")))
        assert header in text
        assert "st2 apikey create -k" in text
        assert "canary" not in text


def test_same_secret_in_another_header_is_another_credential() -> None:
    users = StackStormUsers(ADA, None)
    checker = Checker(SETTINGS, users, clock=Clock())
    assert checker.user(Credential(TOKEN, "same")) == ADA
    assert isinstance(refused(checker, Credential(KEY, "same")), Rejected)


def test_requests_with_the_same_credential_share_a_question() -> None:
    users = StackStormUsers(ADA)
    checker = Checker(SETTINGS, users)
    with ThreadPoolExecutor(20) as pool:
        with users.hanging():
            waiting = [pool.submit(checker.user, token()) for _ in range(20)]
            eventually(lambda: users.asked, "StackStorm is asked")
        assert [future.result() for future in waiting] == [ADA] * 20
    assert len(users.asked) == 1


def test_slow_answer_for_one_credential_does_not_hold_up_another() -> None:
    slow, gate = token("slow"), threading.Event()

    def ask(credential: Credential) -> User | None:
        if credential == slow:
            assert gate.wait(30)
        return ADA

    checker = Checker(SETTINGS, ask)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(checker.user, slow)
        assert checker.user(token("quick")) == ADA
        gate.set()
        assert waiting.result() == ADA


def test_number_of_questions_at_once_is_bounded() -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    gate = threading.Event()

    def ask(credential: Credential) -> User | None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        assert gate.wait(30)
        with lock:
            at_once -= 1
        return ADA

    checker = Checker(SETTINGS, ask)
    with ThreadPoolExecutor(300) as pool:
        waiting = [pool.submit(checker.user, token(str(number))) for number in range(180)]
        # 16 run, 128 wait. The others get 503 at once.
        turned_away = eventually(
            lambda: len(done := [f for f in waiting if f.done()]) >= 180 - 144 and done,
            "the others are turned away",
        )
        assert all(isinstance(future.exception(), Unavailable) for future in turned_away)
        gate.set()
        accepted = [future for future in waiting if future.exception() is None]
    assert len(accepted) == 144
    assert most == 16


def test_stackstorm_away_is_503_and_not_401(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, users = Clock(), StackStormUsers(AWAY, AWAY, ADA)
    checker = Checker(SETTINGS, users, clock=clock)
    for _ in range(5):
        refusal = refused(checker, token())
        assert isinstance(refusal, Unavailable)
        assert refusal.retry_after == 1
    # A server that does not respond is asked once a second.
    assert len(users.asked) == 1
    clock.advance(1)
    assert isinstance(refused(checker, token("canary-2")), Unavailable)
    clock.advance(1)
    assert checker.user(token()) == ADA
    assert [record.getMessage() for record in caplog.records] == [
        "StackStorm cannot check credentials. Mistral answers 503 to requests with others than those of"
        f" the last minute: {AWAY}",
        "StackStorm checks credentials again.",
    ]


def test_known_users_work_while_stackstorm_is_away_until_the_minute_is_over() -> None:
    clock, users = Clock(), StackStormUsers(ADA, AWAY)
    checker = Checker(SETTINGS, users, clock=clock)
    assert checker.user(token()) == ADA
    assert isinstance(refused(checker, token("another")), Unavailable)
    clock.advance(59)
    assert checker.user(token()) == ADA
    clock.advance(1)
    assert isinstance(refused(checker, token()), Unavailable)


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("GET", "http://st2/v1/user", "500 canary", status=500, message="canary"),
        Answered("GET", "http://st2/v1/user", 404, "canary"),
        Answered("GET", "http://st2/v1/user", 302, "redirects to canary"),
    ],
)
def test_refusal_of_one_credential_does_not_keep_the_others_out(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    users = StackStormUsers(error, error, ADA)
    checker = Checker(SETTINGS, users, clock=Clock())
    for _ in range(2):
        assert isinstance(refused(checker, token("canary-2")), Unavailable)
    assert checker.user(token()) == ADA
    (logged,) = [record.getMessage() for record in caplog.records]
    assert logged.startswith("StackStorm did not check a credential: GET http://st2/v1/user: ")
    assert "canary" not in logged


def test_request_waits_no_longer_than_the_timeout() -> None:
    users = StackStormUsers(ADA)
    checker = Checker(replace(SETTINGS, timeout=0.2), users)
    with users.hanging():
        assert isinstance(refused(checker, token()), Unavailable)
        # The pause after it: the next one does not wait at all.
        assert isinstance(refused(checker, token("another")), Unavailable)
        assert users.asked == ["canary-1"]
    eventually(lambda: _is_accepted(checker), "the late answer counts")


def _is_accepted(checker: Checker) -> bool:
    try:
        return checker.user(token()) == ADA
    except Unavailable:
        return False


def test_server_that_sends_one_byte_at_a_time_holds_nobody() -> None:
    slowly = raw(*[bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX-A: 1\r\n"], every=0.05)
    with BreakingServer(slowly) as server:
        settings = AuthSettings(server.url, timeout=0.3)
        assert isinstance(refused(Checker(settings, Users(settings)), token()), Unavailable)


def test_guessing_is_limited_and_known_users_are_not(caplog: pytest.LogCaptureFixture) -> None:
    clock, users = Clock(), StackStormUsers(ADA, None)
    checker = Checker(replace(SETTINGS, checks_per_minute=60), users, clock=clock)
    assert checker.user(token("ada's")) == ADA
    refusals = [refused(checker, token(f"canary-{number}")) for number in range(100)]
    assert [type(refusal) for refusal in refusals] == [Rejected] * 9 + [TooMany] * 91
    assert refusals[-1].retry_after == 1
    assert len(users.asked) == 10
    # A known user may come again, even if the minute is over.
    users.answers = [ADA]
    clock.advance(0.5)
    assert isinstance(refused(checker, token("canary-x")), TooMany)
    assert checker.user(token("ada's")) == ADA
    clock.advance(60)
    for number in range(10):
        checker.user(token(f"new-{number}"))
    assert checker.user(token("ada's")) == ADA
    (logged,) = [record.getMessage() for record in caplog.records]
    assert logged.startswith("Too many unknown credentials: Mistral answers 429 to further ones.")
    assert "canary" not in caplog.text


def test_system_without_threads_is_503_until_it_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    checker = Checker(SETTINGS, StackStormUsers(ADA))

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        assert isinstance(refused(checker, token()), Unavailable)
    assert checker.user(token()) == ADA


def test_failure_nobody_expected_lets_nobody_through(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    checker = Checker(SETTINGS, StackStormUsers(RuntimeError("unexpected")), clock=Clock())
    assert isinstance(refused(checker, token()), Unavailable)
    assert [args.exc_type for args in seen] == [RuntimeError]
