"""Wait for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

TIMEOUT = 180.0
"""Seconds that anything may take on a busy machine before a test fails."""

Found = TypeVar("Found")


def eventually(
    look: Callable[[], Found], what: str = "The condition", timeout: float = TIMEOUT
) -> Found:
    """Call ``look`` until it returns something truthy, and return that.

    :param what: names the condition in the failure.
    :param timeout: seconds after which the test fails.
    """
    begun = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - begun
        if waited > timeout:
            pytest.fail(f"{what}: not within {timeout:g} s")
        # Many conditions are requests, which take the processor from whatever the test waits for.
        time.sleep(min(max(0.01, waited / 20), 0.1))
    return found
