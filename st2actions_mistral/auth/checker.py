"""Check credentials at StackStorm: once for all requests with the same one, and not too many."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Final

from st2actions_mistral.auth.cache import Answer, Cache
from st2actions_mistral.auth.headers import Credential
from st2actions_mistral.auth.rate import RateLimit
from st2actions_mistral.auth.refusal import Rejected, TooMany, Unavailable
from st2actions_mistral.auth.users import User
from st2actions_mistral.config.auth import AuthSettings
from st2actions_mistral.errors import RemoteError

LOG: Final = logging.getLogger(__name__)

Ask = Callable[[Credential], "User | None"]
"""Returns the user of a credential, None if StackStorm rejects it; raises RemoteError."""

# Checks that run at once, and checks that wait for one of them to end.
_AT_ONCE: Final = 16
_WAITING: Final = 128

# Seconds for which StackStorm is not asked after it did not respond. Otherwise each request would hold
# a thread of Mistral's API for the whole timeout.
_PAUSE: Final = 1.0

# Seconds between two warnings of a kind. Whoever guesses would fill the log otherwise.
_WARN_AGAIN: Final = 60.0


class _Check:
    """One question to StackStorm, for which any number of requests wait."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: Answer | None = None
        """None: StackStorm did not say."""


class Checker:
    """Find the user of a credential. Threads may share it.

    A check runs in a thread of its own. So a request waits no longer than its timeout, also for a
    server that sends one byte of its headers at a time.

    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self, settings: AuthSettings, ask: Ask, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._timeout = settings.timeout
        self._clock = clock
        self._cache = Cache(settings.cache_seconds, clock=clock)
        self._limit = RateLimit(settings.checks_per_minute, clock=clock)
        self._slots = threading.Semaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._checks: dict[bytes, _Check] = {}
        self._away_until = -math.inf
        self._is_away = False
        self._warned: dict[str, float] = {}

    def user(self, credential: Credential) -> User:
        """Return the user of a credential.

        :raises Rejected: StackStorm rejects it.
        :raises Unavailable: StackStorm did not say.
        :raises TooMany: too many unknown credentials were sent.
        """
        digest = self._cache.digest(credential)
        answer = self._cache.get(digest) or self._check(digest, credential)
        if answer.user is None:
            raise Rejected(
                f"StackStorm rejects the credential in {credential.header}: it is unknown, disabled or"
                " expired. Get a new token with 'st2 auth USER -t', or an API key with"
                " 'st2 apikey create -k'."
            )
        return answer.user

    def _check(self, digest: bytes, credential: Credential) -> Answer:
        check = self._join(digest, credential)
        if not check.done.wait(self._timeout):
            self._note_away(f"no answer within {self._timeout:g} s")
        if check.answer is None:
            raise _unavailable()
        return check.answer

    def _join(self, digest: bytes, credential: Credential) -> _Check:
        """Return the check of a credential that runs, or start one."""
        with self._lock:
            check = self._checks.get(digest)
            if check is not None:
                return check
            answer = self._cache.get(digest)
            if answer is not None:
                # It came while this request waited for the lock.
                check = _Check()
                check.answer = answer
                check.done.set()
                return check
            if self._clock() < self._away_until or len(self._checks) >= _AT_ONCE + _WAITING:
                raise _unavailable()
            if not self._cache.was_accepted(digest):
                self._count()
            check = self._checks[digest] = _Check()
        thread = threading.Thread(
            target=self._run, args=(digest, credential, check), name="st2-auth", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            # The system has no thread left, or the process ends.
            self._finish(digest, check)
        return check

    def _finish(self, digest: bytes, check: _Check) -> None:
        with self._lock:
            del self._checks[digest]
        check.done.set()

    def _run(self, digest: bytes, credential: Credential, check: _Check) -> None:
        try:
            with self._slots:
                if self._clock() < self._away_until:
                    return
                asked = self._clock()
                user = self._ask(credential)
            self._cache.put(digest, user, asked, _seconds_left(user))
            check.answer = Answer(user)
            self._note_back()
        except RemoteError as error:
            if error.status is None:
                self._note_away(str(error))
            elif self._is_due("status"):
                # Without its message, which may repeat what was sent. StackStorm is not away: it may
                # answer so to this one credential only.
                LOG.warning(
                    "StackStorm did not check a credential: %s %s: %d. %s",
                    error.method,
                    error.url,
                    error.status,
                    error.hint,
                )
        finally:
            self._finish(digest, check)

    def _count(self) -> None:
        seconds = self._limit.take()
        if not seconds:
            return
        if self._is_due("limit"):
            LOG.warning(
                "Too many unknown credentials: Mistral answers 429 to further ones. Somebody may be"
                " guessing. See [st2_auth] checks_per_minute."
            )
        raise TooMany(
            "Too many unknown credentials were sent. Try again later.", retry_after=math.ceil(seconds)
        )

    def _is_due(self, kind: str) -> bool:
        """Return True if no warning of this kind was logged lately."""
        now = self._clock()
        if now < self._warned.get(kind, -math.inf):
            return False
        self._warned[kind] = now + _WARN_AGAIN
        return True

    def _note_away(self, reason: str) -> None:
        with self._lock:
            self._away_until = self._clock() + _PAUSE
            was_away, self._is_away = self._is_away, True
        if not was_away:
            LOG.warning(
                "StackStorm cannot check credentials. Mistral answers 503 to requests with others than"
                " those of the last minute: %s",
                reason,
            )

    def _note_back(self) -> None:
        with self._lock:
            was_away, self._is_away = self._is_away, False
        if was_away:
            LOG.info("StackStorm checks credentials again.")


def _seconds_left(user: User | None) -> float | None:
    if user is None or user.expires_at is None:
        return None
    return (user.expires_at - datetime.now(timezone.utc)).total_seconds()


def _unavailable() -> Unavailable:
    return Unavailable(
        "StackStorm cannot check the credential at the moment. It may be valid: try again.",
        retry_after=math.ceil(_PAUSE),
    )
