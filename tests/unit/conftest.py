"""Fixtures that the unit tests of several packages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from st2_mistral_sandbox.stackstorm import RunRequest, RunResult, StackStorm


def _stays_running(request: RunRequest) -> RunResult:
    return RunResult("running", {"note": "started"})


@pytest.fixture(scope="module")
def st2() -> Iterator[StackStorm]:
    """Yield a StackStorm stand-in with the action ``test.job``, which runs until it is finished."""
    with StackStorm(runners={"asynchronous": _stays_running}) as running:
        running.register_action({"pack": "test", "name": "job", "runner_type": "asynchronous"})
        yield running


@pytest.fixture(scope="module")
def key(st2: StackStorm) -> str:
    """Return an API key of ``st2``."""
    return st2.create_api_key()
