"""Let a child process end when its parent does, however the parent ended.

The parent holds the write end of a pipe that is the child's standard input and never writes to it. When
the parent goes, even by SIGKILL, the kernel closes that end and the child reads EOF. Unlike Linux's
parent-death signal this works on every POSIX system, and does not fire when merely the *thread* that
started the child ends.

As a program it gives the same to a module that knows nothing of it::

    python -m st2_mistral_sandbox.parent_watch MODULE [ARGUMENT ...]
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable

GRACE = 3.0
"""Seconds between asking the process to end and ending it."""


def exit_when_parent_dies(
    on_orphaned: Callable[[], None] | None = None, *, grace: float = GRACE, fd: int = 0
) -> threading.Thread:
    """Watch `fd` in a daemon thread, and end this process when it reaches EOF.

    `on_orphaned` asks the process to end; by default it is sent SIGTERM, so that the process takes the
    same way out as when it is stopped. `grace` seconds later the process ends with code 1 in any case.
    """

    def ask_to_end() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def watch() -> None:
        # os.read and not sys.stdin: a thread that holds the lock of sys.stdin's buffer when the
        # interpreter shuts down makes that shutdown a fatal error.
        while _read(fd):
            pass
        ended = threading.Timer(grace, os._exit, args=(1,))
        ended.daemon = True
        ended.start()
        (on_orphaned or ask_to_end)()

    thread = threading.Thread(target=watch, name="exit-when-parent-dies", daemon=True)
    # A thread inherits the mask. Were a signal open to this one, then it could take one that the module
    # has blocked in order to wait for it, and end the process.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return thread


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1024)
    except OSError:  # closed in this process: nobody is left to tell us anything either
        return b""


def main() -> None:
    """Run a module as `python -m` would, and end it when the parent process ends."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: python -m {__spec__.name} MODULE [ARGUMENT ...]")
    sys.argv = sys.argv[1:]
    exit_when_parent_dies()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
