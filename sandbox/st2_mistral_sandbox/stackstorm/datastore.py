"""Store keys and values, and give templates access to them (``st2kv.system.some.key``)."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from st2_mistral_sandbox.stackstorm.fault import Fault, bad_request, not_found
from st2_mistral_sandbox.stackstorm.object_id import new_id
from st2_mistral_sandbox.stackstorm.timestamps import iso, now

SYSTEM, USER = "st2kv.system", "st2kv.user"
_ALLOWED = ["system", "user", SYSTEM, USER]


@dataclass(repr=False)
class Item:
    """A key with its value."""

    scope: str
    name: str
    value: str = field(repr=False)
    secret: bool
    user: str | None = None
    expires: datetime | None = None
    ciphertext: str = ""
    id: str = field(default_factory=new_id)

    def view(self, *, decrypt: bool) -> dict[str, Any]:
        """Return the item as ``/v1/keys`` shows it."""
        owner = f"{self.user}:" if self.user else ""
        shown: dict[str, Any] = {
            "uid": f"key_value_pair:{self.scope}:{owner}{self.name}",
            "scope": self.scope,
            "name": self.name,
            "value": self.value if decrypt or not self.secret else self.ciphertext,
            "secret": self.secret,
        }
        if self.expires:
            shown["expire_timestamp"] = iso(self.expires)
        shown["id"] = self.id
        if self.user:
            shown["user"] = self.user
        shown["encrypted"] = self.secret and not decrypt
        return shown


class Datastore:
    """All keys of the system and of the users."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: dict[tuple[str, str, str], Item] = {}

    def put(
        self,
        name: str,
        value: str,
        *,
        scope: str = SYSTEM,
        user: str,
        secret: bool = False,
        ttl: int | None = None,
    ) -> Item:
        """Set a key.

        :param ttl: seconds until it expires.
        :raises Fault: 400, unknown scope.
        """
        scope = full_scope(scope)
        owner = user if scope == USER else None
        with self._lock:
            old = self._items.get((scope, owner or "", name))
            item = Item(scope, name, value, secret, owner)
            if old is not None:
                item.id = old.id
            if secret:
                item.ciphertext = _ciphertext(value)
            if ttl:
                item.expires = now() + timedelta(seconds=ttl)
            self._items[scope, owner or "", name] = item
            return item

    def find(self, scope: str, user: str, name: str) -> Item | None:
        """Return a key of a full scope, or None if it is unknown or expired."""
        with self._lock:
            item = self._items.get((scope, user if scope == USER else "", name))
        return None if item is None or (item.expires and item.expires < now()) else item

    def get(self, name: str, *, scope: str, user: str) -> Item:
        """Return a key.

        :raises Fault: 400 unknown scope, 404 unknown key.
        """
        item = self.find(full_scope(scope), user, name)
        if item is None:
            raise _missing(name)
        return item

    def delete(self, name: str, *, scope: str, user: str) -> None:
        """Delete a key.

        :raises Fault: 400 unknown scope, 404 unknown key.
        """
        scope = full_scope(scope)
        with self._lock:
            if self._items.pop((scope, user if scope == USER else "", name), None) is None:
                raise _missing(name)

    def list(self, *, scope: str, user: str, prefix: str = "") -> list[Item]:
        """Return the keys of a scope, or of both for ``all``, that begin with a prefix."""
        wanted = [SYSTEM, USER] if scope == "all" else [full_scope(scope)]
        with self._lock:
            # The keys of the system first.
            items = sorted(self._items.values(), key=lambda item: item.scope == USER)
        return [
            item
            for item in items
            if item.scope in wanted
            and item.user in (None, user)
            and item.name.startswith(prefix)
            and not (item.expires and item.expires < now())
        ]

    def decrypt(self, ciphertext: str) -> str:
        """Return the value of a ciphertext of this store.

        :raises ValueError: the ciphertext is unknown.
        """
        with self._lock:
            for item in self._items.values():
                if item.secret and item.ciphertext == ciphertext:
                    return item.value
        raise ValueError("Non-hexadecimal or unknown ciphertext")

    def lookups(self, user: str) -> dict[str, Lookup]:
        """Return the value of ``st2kv`` in the templates of a user."""
        return {"system": Lookup(self, SYSTEM, user), "user": Lookup(self, USER, user)}


class Lookup:
    """A part of ``st2kv.system.a.b``; as a string, the value of the key ``a.b``, or empty."""

    def __init__(self, store: Datastore, scope: str, user: str, key: str = "") -> None:
        self._store, self._scope, self._user, self._key = store, scope, user, key

    def __getattr__(self, name: str) -> Lookup:
        if name.startswith("__"):
            # jinja2 reads such attributes of every value; they are not keys.
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Lookup:
        key = f"{self._key}.{name}" if self._key else name
        return Lookup(self._store, self._scope, self._user, key)

    def __str__(self) -> str:
        item = self._store.find(self._scope, self._user, self._key)
        if item is None:
            return ""
        return item.ciphertext if item.secret else item.value

    def __int__(self) -> int:
        return int(float(self))

    def __float__(self) -> float:
        return float(str(self))


def full_scope(scope: str) -> str:
    """Return ``st2kv.system`` or ``st2kv.user``.

    :raises Fault: 400, unknown scope.
    """
    full = scope if scope.startswith("st2kv.") else f"st2kv.{scope}"
    if full not in _ALLOWED:
        raise bad_request(f"Scope {full} is not in allowed scopes list: {_ALLOWED}.")
    return full


def _ciphertext(value: str) -> str:
    """Return random digits as long as StackStorm's: header, vector, blocks of 16, signature."""
    length = 16 + 16 * (len(value.encode()) // 16 + 1) + 20
    return "3030303030" + secrets.token_hex(length).upper()


def _missing(name: str) -> Fault:
    return not_found(f'The key "{name}" does not exist in the StackStorm datastore.')
