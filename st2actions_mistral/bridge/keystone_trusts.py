"""Make the keystone trust with which the relay completes an action as the user of its workflow.

A trust lets the relay's user act in the name of another user, with that user's roles on one project,
until it expires. Its id is no credential: only the relay's user can use it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from st2actions_mistral.client import retry
from st2actions_mistral.client.keystone import KeystoneClient, Token, Trust
from st2actions_mistral.client.session import new_session
from st2actions_mistral.config.trusts import TrustSettings
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError

LOG: Final = logging.getLogger(__name__)

# Users and projects that are remembered, about 1 KB each.
_LIMIT: Final = 1000

# Seconds for which a trust, or keystone's refusal to make one, is believed. A user may delete a trust.
_FRESH: Final = 60.0

# Trusts whose roles are read, in search of one to use again. The one with most time left comes first.
_CANDIDATES: Final = 10

_NOTHING_SENT: Final = (
    "[st2_relay] project_auth is trust, so the action needs keystone first. Nothing was sent to"
    " StackStorm."
)

_OF_ANOTHER_TRUST: Final = "the token was made with a trust, as for a cron trigger"


@dataclass
class _Entry:
    """The trust of a user with certain roles on a project, as far as it is known."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    trust: Trust | None = None
    known_at: float | None = None


class RelayTrusts:
    """The trusts from the users of workflows to the relay's user. Safe to share between threads.

    It never stores a token.

    :param clock: seconds, as ``time.monotonic``.
    :param now: the time, to compare with keystone's.
    """

    def __init__(
        self,
        settings: TrustSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        sleep: retry.Sleep = time.sleep,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._keystone = KeystoneClient(
            settings.keystone_url, new_session(settings.tls), settings.timeouts
        )
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str, frozenset[str]], _Entry] = OrderedDict()
        self._trustee_id = settings.trustee_id
        self._logged: OrderedDict[tuple[str, str], None] = OrderedDict()

    def trust_for(self, security: object) -> str | None:
        """Return the id of a trust for the relay; None if the user of the workflow cannot make one.

        :param security: mistral_lib's ``context.security``.
        :raises NotSent: keystone cannot be reached or does not work.
        """
        token = getattr(security, "auth_token", None)
        project_id = getattr(security, "project_id", None)
        if not token or not isinstance(token, str):
            self._without(project_id, "Mistral has no token of the user any more")
            return None
        if getattr(security, "is_target", False):
            # It is for the keystone of another cloud, which must not learn of it here.
            self._without(project_id, "the token is for another cloud (X-Target-Auth-Uri)")
            return None
        if getattr(security, "is_trust_scoped", False):
            self._without(project_id, _OF_ANOTHER_TRUST)
            return None
        policy = retry.policy(self._settings.timeouts, sleep=self._sleep)
        try:
            with _before_sending():
                found: str | None = policy(self._trust_for, token, _holder(security), project_id)
                return found
        except Answered as error:
            self._refused(project_id, error)
            return None

    def close(self) -> None:
        """Close the connections that are kept."""
        self._keystone.close()

    def _trust_for(self, token: str, holder: Token | None, project_id: str | None) -> str | None:
        holder = holder or self._keystone.token(token)
        trustee_id = self._trustee()
        if holder.trust_id is not None:
            # The relay has completed an action of the workflow with it.
            if holder.trustee_id == trustee_id and holder.project_id == project_id:
                return holder.trust_id
            self._without(project_id, _OF_ANOTHER_TRUST)
            return None
        if holder.by_application_credential:
            # Keystone 30.0 refuses also the unrestricted ones.
            self._without(project_id, "the token was made with an application credential")
            return None
        if holder.project_id is None:
            self._without(project_id, "the token has no project")
            return None
        if holder.project_id != project_id:
            self._without(project_id, "the token is for another project")
            return None
        entry = self._entry((holder.user_id, holder.project_id, holder.roles))
        with self._alone(entry):
            return self._current(entry, token, holder, trustee_id)

    def _current(self, entry: _Entry, token: str, holder: Token, trustee_id: str) -> str | None:
        """Return the trust of an entry; find or make one if there is none with enough time left."""
        is_fresh = entry.known_at is not None and self._clock() - entry.known_at < _FRESH
        if not is_fresh:
            known, entry.trust = entry.trust, None
            entry.known_at = None
            try:
                entry.trust = self._keystone.trust(token, known.id) if known else None
                if entry.trust is None or not self._lasts(entry.trust):
                    entry.trust = self._find(token, holder, trustee_id)
                if entry.trust is None:
                    entry.trust = self._make(token, holder, trustee_id)
            except Answered as error:
                if error.status == 429:
                    raise
                self._refused(holder.project_id, error)
                if error.status == 401:
                    # This token is the reason. Another one of the user can check or make the trust.
                    entry.trust = known
                    return known.id if known else None
            entry.known_at = self._clock()
        return entry.trust.id if entry.trust else None

    def _find(self, token: str, holder: Token, trustee_id: str) -> Trust | None:
        """Return a trust that another process, or an earlier one, has made."""
        found = [
            trust
            for trust in self._keystone.trusts_of(token, holder.user_id)
            if trust.trustee_id == trustee_id
            and trust.project_id == holder.project_id
            and trust.impersonates
            and not trust.is_limited
            and self._lasts(trust)
        ]
        never = datetime.max.replace(tzinfo=timezone.utc)
        found.sort(key=lambda trust: trust.expires_at or never, reverse=True)
        for candidate in found[:_CANDIDATES]:
            # A listing shows no roles.
            trust = self._keystone.trust(token, candidate.id)
            if trust is not None and trust.roles == holder.roles:
                return trust
        return None

    def _make(self, token: str, holder: Token, trustee_id: str) -> Trust:
        # Two processes that make one at the same time do no harm: each is valid.
        expires_at = self._now() + timedelta(seconds=self._settings.lifetime)
        trust = self._keystone.create_trust(token, holder, trustee_id, expires_at)
        LOG.info(
            "Made the trust %s from user %s to the relay's user for project %s, until %s.",
            trust.id,
            holder.user_id,
            holder.project_id,
            expires_at.strftime("%Y-%m-%d"),
        )
        return trust

    def _lasts(self, trust: Trust) -> bool:
        if trust.expires_at is None:
            return True
        return trust.expires_at - self._now() > timedelta(seconds=self._settings.lifetime / 2)

    def _trustee(self) -> str:
        """Return the id of the relay's user, asking keystone once.

        :raises NotSent: keystone does not respond, or rejects the relay's credential.
        """
        if self._trustee_id is None:
            try:
                credential = self._settings.credential()
                token = credential.headers().get("X-Auth-Token") if credential else None
                found = self._keystone.token(token) if token else None
            except Answered as error:
                if error.status == 429:
                    raise
                # The token of the workflow's user is not the reason.
                reason = f"keystone rejects the relay's credential: {error.message}"
                raise NotSent(error.method, error.url, reason, permanent=True) from error
            if found is None:
                raise NotSent(
                    "authenticate",
                    self._settings.keystone_url,
                    "[st2_relay] auth_type gives no token: set user_id to the id of the relay's user.",
                    permanent=True,
                )
            self._trustee_id = found.user_id
        return self._trustee_id

    def _entry(self, key: tuple[str, str, frozenset[str]]) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > _LIMIT:
                self._entries.popitem(last=False)
            return entry

    @contextmanager
    def _alone(self, entry: _Entry) -> Iterator[None]:
        """Let one thread at a time ask keystone for a user, so that it makes one trust."""
        timeouts = self._settings.timeouts
        # If keystone hangs, threads must not queue up for a timeout each.
        if not entry.lock.acquire(timeout=timeouts.connect_timeout + timeouts.read_timeout):
            url = f"{self._settings.keystone_url}/OS-TRUST/trusts"
            raise NotSent("POST", url, "another action waits for the same trust.")
        try:
            yield
        finally:
            entry.lock.release()

    def _without(self, project_id: Any, reason: str) -> None:
        if self._is_new(project_id, reason):
            LOG.info(
                "No trust for an action of project %r: %s. The relay completes such actions if its user"
                " has a role on the project.",
                project_id,
                reason,
            )

    def _refused(self, project_id: Any, error: Answered) -> None:
        if error.status == 401:
            self._without(project_id, "the token has expired or was revoked")
        elif self._is_new(project_id, f"{error.method} {error.url} {error.status}"):
            LOG.warning(
                "Keystone refuses a trust for an action of project %r: %s. The relay completes such"
                " actions if its user has a role on the project.",
                project_id,
                str(error).rstrip("."),
            )

    def _is_new(self, project_id: Any, reason: str) -> bool:
        """Return True once per project and reason, so that a log does not have a line per action."""
        key = reason, str(project_id)
        with self._lock:
            if key in self._logged:
                return False
            self._logged[key] = None
            while len(self._logged) > _LIMIT:
                self._logged.popitem(last=False)
            return True


def _holder(security: object) -> Token | None:
    """Return the holder of the token as Mistral knows it; None: Mistral does not.

    ``service_catalog`` is keystone's whole description of the token, in the form in which Mistral's
    middleware got it (20.2.0 to 23.0.0).
    """
    body = getattr(security, "service_catalog", None)
    try:
        return Token.parse(body) if isinstance(body, Mapping) else None
    except ValueError:
        return None


@contextmanager
def _before_sending() -> Iterator[None]:
    """Say that an error came before anything was sent to StackStorm."""
    try:
        yield
    except Answered as error:
        if error.status != 429:
            raise
        raise _not_sent(error) from error
    except (NotSent, OutcomeUnknown) as error:
        raise _not_sent(error) from error


def _not_sent(error: RemoteError) -> NotSent:
    # The request to keystone may have had an effect, but the same request later finds it.
    reason = f"{error.reason} {_NOTHING_SENT}"
    permanent = isinstance(error, NotSent) and error.permanent
    return NotSent(error.method, error.url, reason, permanent=permanent, retry_after=error.retry_after)


_lock: Final = threading.Lock()
_trusts: Final[dict[tuple[int, TrustSettings], RelayTrusts]] = {}


def trusts_for(settings: TrustSettings) -> RelayTrusts:
    """Return this process's trusts for these settings."""
    key = (os.getpid(), settings)
    with _lock:
        found = _trusts.get(key)
        if found is None:
            found = _trusts[key] = RelayTrusts(settings)
        return found


def close_all() -> None:
    """Close all connections, and forget what is known of trusts."""
    with _lock:
        for trusts in _trusts.values():
            trusts.close()
        _trusts.clear()
