"""Read fields of the records in Mistral's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from st2actions_mistral.model import json_values


def decoded(value: Any) -> Any:
    """Return the value of a field of Mistral's API that may be a string of JSON.

    :return: None for a string that is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json_values.decode(value)
    except ValueError:
        return None


def has_items(task: Mapping[str, Any]) -> bool:
    """Return True for a task with items, as Mistral's API shows it."""
    context = decoded(task.get("runtime_context"))
    return isinstance(context, Mapping) and "with_items" in context
