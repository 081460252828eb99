"""Authenticate users by password, token or API key. Every user is an administrator."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request, not_found
from st2_mistral_sandbox.stackstorm.object_id import new_id
from st2_mistral_sandbox.stackstorm.parameters import MASK
from st2_mistral_sandbox.stackstorm.timestamps import iso, now

MAX_TTL = 86_400
"""Seconds; StackStorm's default limit for a token."""


@dataclass(repr=False)
class Token:
    """A token of a user."""

    user: str
    value: str
    expiry: datetime
    service: bool = False
    id: str = field(default_factory=new_id)

    def view(self) -> dict[str, Any]:
        """Return the token as ``/auth/v1/tokens`` shows it."""
        return {
            "user": self.user,
            "token": self.value,
            "expiry": iso(self.expiry),
            "metadata": {},
            "service": self.service,
            "id": self.id,
        }


@dataclass(repr=False)
class ApiKey:
    """An API key of a user, of which only the hash is stored."""

    user: str
    hash: str
    metadata: dict[str, Any]
    enabled: bool = True
    created: datetime = field(default_factory=now)
    id: str = field(default_factory=new_id)

    def view(self, *, masked: bool = True) -> dict[str, Any]:
        """Return the key as ``/v1/apikeys`` shows it."""
        return {
            "uid": MASK if masked else f"api_key:{self.hash}",
            "user": self.user,
            "key_hash": MASK if masked else self.hash,
            "metadata": self.metadata,
            "created_at": iso(self.created),
            "enabled": self.enabled,
            "id": self.id,
        }


@dataclass(frozen=True, repr=False)
class Credential:
    """The credential of a request.

    :ivar kind: ``token``, ``key`` or ``none``.
    :ivar location: ``header``, ``cookie`` or ``query``.
    """

    kind: str
    value: str
    location: str


_ADMINS = frozenset({"system_admin", "admin"})
"""StackStorm's own roles that may do everything."""

NO_CREDENTIAL = Credential("none", "", "")
SYSTEM_USER = "stanley"
"""The user of every request if authentication is off."""


@dataclass(frozen=True, repr=False)
class Principal:
    """An authenticated user."""

    user: str
    credential: Credential
    expiry: datetime | None = None
    roles: tuple[str, ...] | None = None
    """RBAC roles; None if RBAC is off."""

    def view(self) -> dict[str, Any]:
        """Return the user as ``/v1/user`` shows it."""
        token = self.credential.kind == "token"
        authentication = {
            "method": "authentication token" if token else "API key",
            "location": self.credential.location,
        }
        if self.expiry:
            authentication["token_expire"] = self.expiry.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "username": self.user,
            "authentication": authentication,
            "rbac": {
                "enabled": self.roles is not None,
                "roles": list(self.roles or ()),
                "is_admin": self.roles is None or not _ADMINS.isdisjoint(self.roles),
            },
        }


class Authenticator:
    """Users, tokens and API keys.

    :param required: False accepts every request, as StackStorm does if authentication is off.
    """

    def __init__(self, username: str, password: str, *, required: bool = True) -> None:
        self._required = required
        self._lock = threading.Lock()
        self._passwords = {username: password}
        self._tokens: dict[str, Token] = {}
        self._keys: dict[str, ApiKey] = {}
        self._roles: dict[str, tuple[str, ...]] = {}

    def set_roles(self, user: str, roles: Iterable[str]) -> None:
        """Turn RBAC on, and give a user these roles. Nothing but ``/v1/user`` looks at them."""
        with self._lock:
            self._roles[user] = tuple(roles)

    def authenticate_password(self, authorization: str | None) -> str:
        """Return the user of a basic ``Authorization`` header.

        :raises Fault: 401.
        """
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            decoded = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            decoded = ""
        user, colon, password = decoded.partition(":")
        known = self._passwords.get(user)
        if scheme.lower() != "basic" or not colon or known is None:
            raise Fault(401, "Invalid or missing credentials")
        if not hmac.compare_digest(known.encode(), password.encode()):
            raise Fault(401, "Invalid or missing credentials")
        return user

    def create_token(self, user: str, ttl: float | None = None, *, service: bool = False) -> Token:
        """Create a token that expires after ``ttl`` seconds.

        :raises Fault: 400, ``ttl`` is above :data:`MAX_TTL`.
        """
        ttl = MAX_TTL if ttl is None else ttl
        if ttl > MAX_TTL:
            raise bad_request(f"TTL specified {ttl} is greater than max allowed {MAX_TTL}.")
        token = Token(user, secrets.token_hex(16), now() + timedelta(seconds=ttl), service)
        with self._lock:
            self._tokens[token.value] = token
        return token

    def revoke_token(self, value: str) -> None:
        """Delete a token, if it exists."""
        with self._lock:
            self._tokens.pop(value, None)

    def token_is_valid(self, value: str) -> bool:
        """Return whether a token exists and has not expired."""
        with self._lock:
            token = self._tokens.get(value)
        return token is not None and token.expiry > now()

    def authenticate(self, credential: Credential | None) -> Principal:
        """Return the user whose credential this is.

        :raises Fault: 401, with StackStorm's message.
        """
        if not self._required:
            return Principal(SYSTEM_USER, NO_CREDENTIAL)
        if credential is None:
            raise Fault(401, "Unauthorized - One of Token or API key required.")
        with self._lock:
            if credential.kind == "token":
                token = self._tokens.get(credential.value)
                if token is None:
                    raise Fault(401, "Unauthorized")
                if token.expiry <= now():
                    raise Fault(401, "Unauthorized - Token has expired.")
                return Principal(token.user, credential, token.expiry, self._roles_of(token.user))
            digest = _hash(credential.value)
            key = next((key for key in self._keys.values() if key.hash == digest), None)
        if key is None:
            raise Fault(401, f"Unauthorized - ApiKey with key_hash={digest} not found.")
        if not key.enabled:
            raise Fault(401, "Unauthorized - API key is disabled.")
        return Principal(key.user, credential, roles=self._roles_of(key.user))

    def _roles_of(self, user: str) -> tuple[str, ...] | None:
        return self._roles.get(user, ()) if self._roles else None

    def create_key(
        self, user: str, metadata: dict[str, Any] | None = None, *, value: str | None = None
    ) -> tuple[ApiKey, str]:
        """Create an API key; return it and its value, which is not stored."""
        value = value or secrets.token_urlsafe(48)
        key = ApiKey(user, _hash(value), metadata or {})
        with self._lock:
            self._keys[key.id] = key
        return key, value

    def api_keys(self) -> list[ApiKey]:
        """Return all API keys."""
        with self._lock:
            return list(self._keys.values())

    def key(self, key_id: str) -> ApiKey:
        """Return an API key.

        :raises Fault: 404.
        """
        with self._lock:
            key = self._keys.get(key_id)
        if key is None:
            raise not_found(f'ApiKey with key_hash={MASK} or id "{key_id}" not found.')
        return key

    def change_key(self, key_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Replace an API key but for its hash; what ``wanted`` omits is reset.

        :raises Fault: 404 unknown key, 400 another hash or no user.
        """
        key = self.key(key_id)
        given = wanted.get("key_hash")
        if given and given not in (MASK, key.hash):
            raise bad_request("Update of key_hash is not allowed.")
        if not wanted.get("user"):
            raise bad_request(f"ValidationError (ApiKeyDB:{key_id}) (Field is required: ['user'])")
        key.user = wanted["user"]
        key.enabled = bool(wanted.get("enabled", True))
        key.metadata = wanted.get("metadata") or {}
        key.created = now()
        # StackStorm derives the uid from the request.
        return {**key.view(masked=False), "uid": f"api_key:{given or ''}"}

    def delete_key(self, key_id: str) -> None:
        """Delete an API key.

        :raises Fault: 404.
        """
        self.key(key_id)
        with self._lock:
            self._keys.pop(key_id, None)


def _hash(value: str) -> str:
    return hashlib.sha512(value.encode()).hexdigest()
