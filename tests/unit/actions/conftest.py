from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mistral_lib.actions.context import ActionContext, ExecutionContext, SecurityContext

MakeContext = Callable[..., ActionContext]


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
