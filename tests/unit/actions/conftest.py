from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mistral_lib.actions.context import ActionContext, ExecutionContext, SecurityContext
from oslo_config import cfg

from st2actions_mistral import config
from st2actions_mistral.bridge import clients, keystone_trusts

Configure = Callable[..., None]
MakeContext = Callable[..., ActionContext]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
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


@pytest.fixture
def make_context() -> MakeContext:
    """Return a function that makes the context which Mistral passes to an action of a workflow."""

    def make(security: SecurityContext | None = None, **ids: Any) -> ActionContext:
        known = {
            "workflow_execution_id": "w-1",
            "workflow_name": "wf",
            "task_execution_id": "t-1",
            "action_execution_id": "a-1",
            "callback_url": "/v2/action_executions/a-1",
        }
        return ActionContext(security or SecurityContext(), ExecutionContext(**{**known, **ids}))

    return make
