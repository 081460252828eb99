"""The sandbox of the end-to-end tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import IO

import pytest
from support.mistral_bench import Bench, new_bench

from st2_mistral_sandbox.process import ChildProcess


@pytest.fixture(scope="session", autouse=True)
def _unmeasured() -> Iterator[None]:
    """Keep coverage out of Mistral's process: it would slow all of Mistral, by two fifths, for the
    little of ours that runs there, which has unit tests."""
    spawn = ChildProcess._spawn

    def spawn_unmeasured(child: ChildProcess, log: IO[bytes]) -> subprocess.Popen[bytes]:
        with pytest.MonkeyPatch.context() as patch:
            if "st2_mistral_sandbox.mistral_process" in child.args:
                patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
            return spawn(child, log)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChildProcess, "_spawn", spawn_unmeasured)
        yield


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The sandbox that most tests share."""
    yield from new_bench(tmp_path_factory.mktemp("sandbox"))
