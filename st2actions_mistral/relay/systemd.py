"""Report the state of the relay to systemd, and recognize its journal."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable
from typing import Final

LOG: Final = logging.getLogger(__name__)

# Sent with each heartbeat until the first resync is done. As TimeoutStartSec of the unit.
_EXTEND_TIMEOUT: Final = "EXTEND_TIMEOUT_USEC=180000000"


def is_journal(descriptor: int) -> bool:
    """Return True if systemd connected an open file to its journal, see systemd.exec(5)."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Notifier:
    """Sends messages to the socket that the environment names, and none where it names none.

    The protocol is sd_notify(3)'s: one datagram of ``NAME=value`` lines.

    :param clock: seconds, as ``time.monotonic``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_heartbeat = -math.inf
        self._is_ready = False
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            # A name in Linux's abstract namespace.
            self._address = "\0" + self._address[1:]

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two heartbeats, half of systemd's limit; None if it expects none."""
        try:
            microseconds = int(os.environ.get("WATCHDOG_USEC", ""))
        except ValueError:
            return None
        pid = os.environ.get("WATCHDOG_PID")
        if microseconds <= 0 or (pid and pid != str(os.getpid())):
            return None
        return microseconds / 2_000_000

    def ready(self, status: str) -> None:
        """Report that the service has started, or a new status.

        :param status: a line for ``systemctl status``.
        """
        self._is_ready = True
        self._send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Send a heartbeat, and ask for more time before the service has started.

        Safe to call often: at most one heartbeat a second is sent.
        """
        now = self._clock()
        if now - self._last_heartbeat < min(1.0, (self.watchdog_interval or 2.0) / 2):
            return
        self._last_heartbeat = now
        self._send("WATCHDOG=1", *([] if self._is_ready else [_EXTEND_TIMEOUT]))

    def stopping(self) -> None:
        """Report that the service stops."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            LOG.debug("systemd does not receive messages: %s", error)
