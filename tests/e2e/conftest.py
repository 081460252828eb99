"""The sandbox that most end-to-end tests share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support.mistral_bench import Bench, new_bench


class UnmeasuredPopen(subprocess.Popen[Any]):
    """A process without coverage if it is Mistral."""

    def __init__(self, args: Any, *more: Any, **options: Any) -> None:
        if "st2_mistral_sandbox.mistral_process" in args:
            environment = options.get("env") or os.environ
            options["env"] = {
                name: value for name, value in environment.items() if name != "COVERAGE_PROCESS_CONFIG"
            }
        super().__init__(args, *more, **options)


@pytest.fixture(scope="session", autouse=True)
def _no_coverage_of_mistral() -> Iterator[None]:
    """Turn off coverage in Mistral's process, which it slows by two fifths.

    Unit tests cover the code of this package that runs there.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", UnmeasuredPopen)
        yield


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    # Some tests wait for a resync: the default is 30 seconds.
    yield from new_bench(tmp_path_factory.mktemp("sandbox"), relay_options="resync_interval = 3")
