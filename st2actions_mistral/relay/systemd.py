"""What systemd wants to hear from a service of ``Type=notify``; silent where nobody listens."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable
from typing import Final

LOG: Final = logging.getLogger(__name__)

# From each sign of life on, before the first comparison is done: as TimeoutStartSec of the unit.
_MORE_TIME: Final = "EXTEND_TIMEOUT_USEC=180000000"


class Notifier:
    """Tells the service manager how the relay is, by the socket that it names in the environment.

    The protocol is sd_notify(3)'s: one datagram of ``NAME=value`` lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told = -math.inf
        self._is_ready = False
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            # A name in Linux's abstract namespace.
            self._address = "\0" + self._address[1:]

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two signs of life, half of what systemd waits for; None: for none."""
        try:
            microseconds = int(os.environ.get("WATCHDOG_USEC", ""))
        except ValueError:
            return None
        meant_for = os.environ.get("WATCHDOG_PID")
        if microseconds <= 0 or (meant_for and meant_for != str(os.getpid())):
            return None
        return microseconds / 2_000_000

    def ready(self, status: str) -> None:
        """The service is up."""
        self._is_ready = True
        self._tell("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """A line for ``systemctl status``."""
        self._tell(f"STATUS={status}")

    def alive(self) -> None:
        """A sign of life; before the service is up it asks for time, too. Safe to call often: not more
        than one a second is told."""
        now = self._clock()
        if now - self._told < min(1.0, (self.watchdog_interval or 2.0) / 2):
            return
        self._told = now
        self._tell("WATCHDOG=1", *([] if self._is_ready else [_MORE_TIME]))

    def stopping(self) -> None:
        """The service is about to end."""
        self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            LOG.debug("systemd does not listen: %s", error)
