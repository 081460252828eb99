"""Make ids in the form of MongoDB's object ids."""

from __future__ import annotations

import itertools
import secrets
import time

_counter = itertools.count(secrets.randbelow(1 << 23))
_PROCESS = secrets.token_hex(5)


def new_id() -> str:
    """Return 24 hexadecimal digits that sort by time."""
    return f"{int(time.time()):08x}{_PROCESS}{next(_counter) & 0xFFFFFF:06x}"
