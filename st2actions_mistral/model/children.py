"""Read the ids in the context of child executions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from st2actions_mistral.model.context import ids_are_signed


def mistral_ids(child: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the context of an execution says about Mistral, unchecked.

    :return: empty if the execution has none.
    """
    context = child.get("context")
    found = context.get("mistral") if isinstance(context, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def is_accepted(child: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Tell whether the ids of an execution count.

    Whoever may create executions in StackStorm may write any ids into their context.

    :param keys: the values of ``context_key``. If there are any, the ids must be signed with one.
    """
    return not keys or ids_are_signed(mistral_ids(child), *keys)
