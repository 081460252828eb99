"""Read what the relay needs from the records of both systems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

ACTION_NAME: Final = "st2.action"
"""The Mistral action whose result comes from StackStorm."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# The characters of a UUID. Anything else would be logged as it is, line breaks included.
_ID: Final = re.compile(r"[0-9A-Za-z-]{1,36}")


def action_of(child: Mapping[str, Any], site: str) -> str | None:
    """Return the action execution that an execution was created for; None if it is none of this site.

    Anybody may write the context, so its shape is checked.
    """
    found = mistral_context(child)
    action = found.get("action_execution_id") if found.get("site") == site else None
    return action if isinstance(action, str) and _ID.fullmatch(action) else None


def mistral_context(child: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the context of an execution says about Mistral, unchecked.

    :return: empty if the execution has none.
    """
    context = child.get("context")
    found = context.get("mistral") if isinstance(context, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def claimed_workflow(child: Mapping[str, Any] | None) -> str | None:
    """Return the workflow execution that the context of an execution names, unchecked."""
    found = mistral_context(child).get("workflow_execution_id") if child is not None else None
    # Mistral rejects a request with any other text.
    return found if isinstance(found, str) and _UUID.fullmatch(found) else None


def created_at(action: Mapping[str, Any]) -> datetime:
    """Return when an action execution was created, in Mistral's time.

    ``created_at`` is UTC without a zone, such as "2026-11-23 04:16:07".
    """
    return datetime.fromisoformat(str(action["created_at"])).replace(tzinfo=timezone.utc)
