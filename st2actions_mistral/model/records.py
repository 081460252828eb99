"""Read what the relay needs from the records of both systems."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from st2actions_mistral.model.children import is_accepted, mistral_ids

ACTION_NAME: Final = "st2.action"
"""The Mistral action whose result comes from StackStorm."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# The characters of a UUID. Anything else would be logged as it is, line breaks included.
_ID: Final = re.compile(r"[0-9A-Za-z-]{1,36}")

_KEYSTONE_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")


def action_of(child: Mapping[str, Any], site: str, keys: Sequence[str] = ()) -> str | None:
    """Return the action execution that an execution was created for; None if it is none of this site.

    Anybody may write the context, so its shape is checked.

    :param keys: if there are any, the ids must be signed with one of them.
    """
    found = mistral_ids(child)
    action = found.get("action_execution_id") if found.get("site") == site else None
    if not isinstance(action, str) or not _ID.fullmatch(action):
        return None
    return action if is_accepted(child, keys) else None


def claimed_project(child: Mapping[str, Any] | None) -> str | None:
    """Return the project that the context of an execution names, unchecked."""
    return _id_in(child, "project_id")


def claimed_trust(child: Mapping[str, Any] | None) -> str | None:
    """Return the trust that the context of an execution names, unchecked."""
    return _id_in(child, "trust_id")


def claimed_workflow(child: Mapping[str, Any] | None) -> str | None:
    """Return the workflow execution that the context of an execution names, unchecked."""
    found = mistral_ids(child).get("workflow_execution_id") if child is not None else None
    # Mistral rejects a request with any other text.
    return found if isinstance(found, str) and _UUID.fullmatch(found) else None


def _id_in(child: Mapping[str, Any] | None, name: str) -> str | None:
    found = mistral_ids(child).get(name) if child is not None else None
    return found if isinstance(found, str) and _KEYSTONE_ID.fullmatch(found) else None


def created_at(action: Mapping[str, Any]) -> datetime:
    """Return when an action execution was created, in Mistral's time.

    ``created_at`` is UTC without a zone, such as "2026-11-23 04:16:07".
    """
    return datetime.fromisoformat(str(action["created_at"])).replace(tzinfo=timezone.utc)
