"""Fixtures that the unit tests of several packages share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oslo_config import cfg

from st2_mistral_sandbox.stackstorm import RunRequest, RunResult, StackStorm
from st2actions_mistral import config
from st2actions_mistral.bridge import clients, keystone_trusts

Configure = Callable[..., None]


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


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Set options of a group in Mistral's configuration; of [st2] if none is given."""
    conf = cfg.CONF
    # As in an executor: the configuration was read before.
    conf([], project="mistral", default_config_files=[])
    config.register_opts(conf)
    changed: set[tuple[str, str]] = set()

    def override(group: str = "st2", **options: Any) -> None:
        for name, value in options.items():
            conf.set_override(name, value, group=group)
            changed.add((name, group))

    # Short timeouts. Only a server that does not respond takes read_timeout.
    override(connect_timeout=5, read_timeout=5, retry_deadline=5)
    yield override
    for name, group in changed:
        conf.clear_override(name, group=group)
    clients.close_all()
    keystone_trusts.close_all()
    conf.reset()
