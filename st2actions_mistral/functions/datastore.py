"""``st2kv``: read StackStorm's datastore in an expression.

An engine evaluates expressions within a transaction of its database. So a request has a timeout of two
seconds and is not repeated, and values are kept for a few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from jinja2 import pass_context
from oslo_config import cfg

from st2actions_mistral.bridge import trust
from st2actions_mistral.bridge.clients import client_for
from st2actions_mistral.client.limits import Limits
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.config import BridgeSettings, load_bridge_settings
from st2actions_mistral.errors import Answered, InputError, RemoteError
from st2actions_mistral.functions.key_cache import KeyCache
from st2actions_mistral.model.context import MistralIds, St2Context

_NAME: Final = "st2kv"
_SYSTEM: Final = "system."

# Seconds, for a connection, for the next byte and for a whole response.
_TIMEOUT: Final = 2.0
# A value takes at most six bytes for each of the megabyte of characters that Mistral stores.
_BOUNDS: Final = Limits(response_bytes=8 * 1024 * 1024, response_timeouts=1)

CACHE: Final = KeyCache()
"""The values that this process has read."""


class _Query(NamedTuple):
    """A key, its StackStorm and its scope. Two equal queries have the same value."""

    st2: St2Settings
    scope: str
    user: str | None
    """The user whose key it is; None: the credential's own user."""
    key: str
    decrypt: bool


@pass_context
def st2kv(context: Any, key: Any, decrypt: bool = False) -> str:
    """Return the value of a key in StackStorm's datastore."""
    if not isinstance(decrypt, bool):
        # A text such as "false" must not show a secret.
        raise InputError(_NAME, "decrypt must be true or false.")
    settings = load_bridge_settings(cfg.CONF)
    scope, name = _scope_of(key)
    given = _given(context)
    parsed = St2Context.parse(given)
    user = _user(settings, parsed, given, context) if scope == "user" else None
    query = _Query(_in_short(trust.st2_for(settings, parsed)), scope, user, name, decrypt)
    return CACHE.get(query, lambda: _read(query))


def _scope_of(key: Any) -> tuple[str, str]:
    """Return the scope and the name of a key.

    :raises InputError: it names none.
    """
    name = key.removeprefix(_SYSTEM) if isinstance(key, str) else ""
    if not name:
        raise InputError(
            _NAME, f"{key!r:.80} is no key. Write 'system.KEY', or 'KEY' for a user's own."
        )
    return ("user" if name == key else "system"), name


def _given(context: Any) -> Any:
    """Return the ``st2_context`` that the workflow's environment gives to ``st2.action``."""
    found = _lookup(context, "__env")
    for name in ("__actions", "st2.action", "st2_context"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _user(settings: BridgeSettings, parsed: St2Context, given: Any, context: Any) -> str | None:
    """Return the user whom the workflow's StackStorm actions run as; None for the credential's own.

    :raises InputError: the context is not trusted.
    """
    execution = _lookup(context, "__execution")
    id_ = execution.get("id") if isinstance(execution, Mapping) else None
    parent = trust.trusted_parent(settings, parsed, given, MistralIds(settings.site, id_))
    return parent.user if parent else None


def _lookup(context: Any, name: str) -> Any:
    """Return a value of Mistral's context, which is a dict or a context of YAQL or of Jinja."""
    try:
        return context[name]
    except KeyError:
        return None


def _in_short(st2: St2Settings) -> St2Settings:
    timeouts = st2.timeouts
    short = replace(
        timeouts,
        connect_timeout=min(timeouts.connect_timeout, _TIMEOUT),
        read_timeout=min(timeouts.read_timeout, _TIMEOUT),
    )
    return replace(st2, timeouts=short)


def _read(query: _Query) -> str:
    client = client_for(query.st2, _BOUNDS)
    try:
        return client.key_once(query.key, scope=query.scope, user=query.user, decrypt=query.decrypt)
    except Answered as error:
        reason = _reason(query, error)
    except RemoteError as error:
        reason = f"StackStorm does not respond: {error}"
    # Outside of the handler: Mistral would log the whole chain of errors.
    raise InputError(_NAME, reason)


def _reason(query: _Query, error: Answered) -> str:
    if error.status == 404:
        whose = f"of the user {query.user}" if query.user else "of the user of Mistral's credential"
        place = "in the scope system" if query.scope == "system" else whose
        return f"StackStorm has no key {query.key!r:.200} {place}."
    if error.status == 403 and query.user:
        return (
            f"Mistral's credential may not read the keys of the user {query.user}. Only that of an"
            f" administrator may, and only if RBAC is enabled in StackStorm ({error.reason})."
        )
    return f"StackStorm rejects the request: {error}"
