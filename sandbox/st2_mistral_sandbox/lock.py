"""One sandbox for each folder: two would write over each other's configuration and database."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Final

from st2_mistral_sandbox.errors import SandboxError

_NAME: Final = "sandbox.lock"


def hold(folder: Path) -> IO[str]:
    """Make a folder ours for as long as the file that comes back is open.

    The kernel lets go of it when this process ends, however it ends, so that none has to be removed by
    hand. Children do not inherit it.

    :raises SandboxError: another sandbox has it.
    """
    # Not "w": that would empty the other one's.
    lock = (folder / _NAME).open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read(20).strip()
        lock.close()
        process = f" (process {holder})" if holder else ""
        raise SandboxError(
            f"{folder} is in use by another sandbox{process}. Stop that one, or choose another folder."
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
