"""End a child process when its parent process ends in any way.

The child's standard input is a pipe to which the parent never writes. When the parent ends, also by
SIGKILL, the kernel closes the pipe and the child reads end-of-file. Unlike Linux's parent-death signal
this works on every POSIX system, and ignores the end of the *thread* that started the child.

As a program it runs any other module in this way::

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
"""Seconds between the stop signal and the forced end."""


def exit_when_parent_dies(
    on_end: Callable[[], None] | None = None, *, grace: float = GRACE, fd: int = 0
) -> threading.Thread:
    """Watch a file descriptor in a daemon thread, and end this process at its end-of-file.

    :param on_end: stops the process; by default SIGTERM does, as when the process is stopped.
    :param grace: seconds after which the process ends with code 1 in any case.
    """

    def terminate() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def watch() -> None:
        # Not sys.stdin: the interpreter cannot shut down while a thread holds the lock of its buffer.
        while _read(fd):
            pass
        forced_end = threading.Timer(grace, os._exit, args=(1,))
        forced_end.daemon = True
        forced_end.start()
        (on_end or terminate)()

    thread = threading.Thread(target=watch, name="exit-when-parent-dies", daemon=True)
    # The thread inherits the mask. It must not receive a signal that the module blocks and waits for.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return thread


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1024)
    except OSError:  # the descriptor was closed in this process
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
