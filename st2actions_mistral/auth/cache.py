"""Keep what StackStorm said about credentials, but not the credentials."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Optional

from st2actions_mistral.auth.headers import Credential
from st2actions_mistral.auth.users import User

# Seconds for which a rejected credential is not checked again. Somebody may enable an API key again.
_REJECTED: Final = 10.0

# Credentials of each kind, about 1 KB each.
_LIMIT: Final = 5000


@dataclass(frozen=True)
class Answer:
    """StackStorm's answer about a credential."""

    user: User | None
    """None: it was rejected."""


_Kept = OrderedDict[bytes, tuple[float, Optional[User]]]


class Cache:
    """Answers by keyed hashes of the credentials. Threads may share it.

    Accepted and rejected credentials are counted separately, so that guessing forgets no user. The key
    of the hash is random and never leaves the process.

    :param seconds: for which an accepted credential counts.
    :param limit: how many credentials of each kind are kept. The one that was stored first goes first.
    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        seconds: float,
        *,
        rejected_seconds: float = _REJECTED,
        limit: int = _LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._rejected_seconds = rejected_seconds
        self._limit = limit
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._accepted: _Kept = OrderedDict()
        self._rejected: _Kept = OrderedDict()

    def digest(self, credential: Credential) -> bytes:
        """Return the hash that stands for a credential in this process."""
        text = f"{credential.header} {credential.secret}"
        return hashlib.blake2b(text.encode(), key=self._key, digest_size=32).digest()

    def get(self, digest: bytes) -> Answer | None:
        """Return what StackStorm said; None if that is unknown or too long ago."""
        with self._lock:
            for kept in (self._accepted, self._rejected):
                until, user = kept.get(digest, (0.0, None))
                if until > self._clock():
                    return Answer(user)
        return None

    def was_accepted(self, digest: bytes) -> bool:
        """Return True if StackStorm accepted the credential the last time, however long ago."""
        with self._lock:
            return digest in self._accepted

    def put(self, digest: bytes, user: User | None, asked: float, lasts: float | None) -> None:
        """Keep an answer.

        :param asked: the time before the question, by this cache's clock.
        :param lasts: seconds from now until the credential expires; None: it does not.
        """
        kept, others = self._accepted, self._rejected
        until = asked + self._seconds
        if user is None:
            kept, others, until = others, kept, asked + self._rejected_seconds
        elif lasts is not None:
            until = min(until, self._clock() + lasts)
        with self._lock:
            others.pop(digest, None)
            kept.pop(digest, None)
            kept[digest] = until, user
            while len(kept) > self._limit:
                kept.popitem(last=False)

    def __len__(self) -> int:
        with self._lock:
            return len(self._accepted) + len(self._rejected)
