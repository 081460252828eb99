"""The few names of StackStorm that ``runner/mistral_v2.py`` uses, for tests of that shell.

StackStorm is in no package index, so it cannot be had here. What stands here is what the shell hands on
and gets back, as StackStorm 3.9.0 has it; the shell itself was run in a real one (docs/workflows.md).
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class AsyncActionRunner:
    """What ``st2actions.container.base`` sets on a runner before it calls it."""

    runner_parameters: Any = None
    context: Any = None
    execution_id: Any = None
    action: Any = None
    liveaction: Any = None
    liveaction_id: Any = None
    entry_point: Any = None
    rerun_ex_ref: Any = None

    def __init__(self, runner_id: str) -> None:
        self.runner_id = runner_id


class NotificationsHelper:
    @staticmethod
    def from_model(model: Any) -> dict[str, Any]:
        return dict(model or {})


def modules(action_db: Any) -> dict[str, ModuleType]:
    """By name, to be put into ``sys.modules``.

    :param action_db: stands for ``st2common.util.action_db``.
    """
    constants = ModuleType("st2common.constants.action")
    constants.LIVEACTION_STATUS_RUNNING = "running"  # type: ignore[attr-defined]
    constants.LIVEACTION_STATUS_FAILED = "failed"  # type: ignore[attr-defined]
    constants.LIVEACTION_STATUS_CANCELED = "canceled"  # type: ignore[attr-defined]
    constants.LIVEACTION_COMPLETED_STATES = [  # type: ignore[attr-defined]
        "succeeded",
        "failed",
        "timeout",
        "canceled",
        "abandoned",
    ]
    base = ModuleType("st2common.runners.base")
    base.AsyncActionRunner = AsyncActionRunner  # type: ignore[attr-defined]
    notification = ModuleType("st2common.models.api.notification")
    notification.NotificationsHelper = NotificationsHelper  # type: ignore[attr-defined]
    util = ModuleType("st2common.util")
    util.action_db = action_db  # type: ignore[attr-defined]
    named = {module.__name__: module for module in (constants, base, notification, util)}
    for name in [*named]:
        parts = name.split(".")
        for end in range(1, len(parts)):
            parent = ".".join(parts[:end])
            named.setdefault(parent, ModuleType(parent))
    return named


def forget() -> None:
    """Have the shell imported anew."""
    sys.modules.pop("st2actions_mistral.runner.mistral_v2", None)
