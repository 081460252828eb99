"""Check the ids of StackStorm executions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # In typing from Python 3.10.
    from typing_extensions import TypeGuard

_OBJECT_ID: Final = re.compile(r"[0-9a-f]{24}")


def is_execution_id(value: object) -> TypeGuard[str]:
    """Return True if a value has the form of an execution id: 24 hexadecimal digits.

    Check ids from elsewhere before use. StackStorm rejects a whole list of ids for an invalid one, and
    gives some words a meaning of their own ("last" is the newest execution).
    """
    return isinstance(value, str) and _OBJECT_ID.fullmatch(value) is not None
