"""A clock for code that takes one as a parameter."""

from __future__ import annotations


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self, now: float = 1000.0) -> None:
        """:param now: seconds that the clock shows first."""
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
