"""Fixtures of the fault tests, which break real sockets and kill real processes."""

from __future__ import annotations

import os

import pytest

SEED = int(os.environ.get("ST2_MISTRAL_SEED", "20261124"))


@pytest.fixture
def seed() -> int:
    """Return the seed of all plans. ST2_MISTRAL_SEED repeats a run."""
    return SEED


def pytest_report_header() -> str:
    return f"faults: ST2_MISTRAL_SEED={SEED}"
