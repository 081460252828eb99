"""The sandbox that most end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.mistral_bench import Bench, new_bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    # Some tests wait for a resync: the default is 30 seconds.
    yield from new_bench(tmp_path_factory.mktemp("sandbox"), relay_options="resync_interval = 3")
