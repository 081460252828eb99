"""What the id of a StackStorm execution looks like."""

from __future__ import annotations

import re
from typing import Final, TypeGuard

_OBJECT_ID: Final = re.compile(r"[0-9a-f]{24}")


def is_execution_id(value: object) -> TypeGuard[str]:
    """Whether a value may be the id of a StackStorm execution: MongoDB's 24 hexadecimal digits.

    What others wrote is no id before it was asked: StackStorm refuses a whole list of ids for one that
    is none, and takes some words for more than an id ("last" is the newest execution).
    """
    return isinstance(value, str) and _OBJECT_ID.fullmatch(value) is not None
