"""The statuses of an execution, and the sets that StackStorm distinguishes."""

from __future__ import annotations

from typing import Final

STATUSES: Final = (
    "requested",
    "scheduled",
    "delayed",
    "running",
    "succeeded",
    "failed",
    "timeout",
    "abandoned",
    "canceling",
    "canceled",
    "pending",
    "pausing",
    "paused",
    "resuming",
)

FINAL: Final = frozenset({"succeeded", "failed", "timeout", "canceled", "abandoned"})

CANCELABLE: Final = frozenset(
    {"requested", "scheduled", "delayed", "running", "pausing", "paused", "resuming"}
)
