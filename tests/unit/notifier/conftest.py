"""What the tests of the notifier share."""

from __future__ import annotations

import pytest
from support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
