"""Lock a folder: two sandboxes in one would overwrite each other's configuration and database."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Final

from st2_mistral_sandbox.errors import SandboxError

_NAME: Final = "sandbox.lock"


def acquire(folder: Path) -> IO[str]:
    """Lock a folder until the returned file is closed.

    The kernel releases the lock when this process ends in any way. Child processes do not inherit it.

    :raises SandboxError: another sandbox has locked it.
    """
    # Not mode "w": it would truncate a file that another sandbox has locked.
    lock = (folder / _NAME).open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read(20).strip()
        lock.close()
        process = f" (process {holder})" if holder else ""
        raise SandboxError(
            f"{folder} is in use by another sandbox{process}. Stop it, or choose another folder."
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
