"""The sandbox of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench import Bench, new_bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The sandbox that most tests share."""
    yield from new_bench(tmp_path_factory.mktemp("sandbox"))
