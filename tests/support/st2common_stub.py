"""A stub of the parts of st2common that ``runner/mistral_v2.py`` uses, as in StackStorm 3.9.0.

StackStorm is in no package index, so tests cannot install it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class AsyncActionRunner:
    """The attributes that ``st2actions.container.base`` sets on a runner before it calls it."""

    runner_parameters: Any = None
    context: Any = None
    execution_id: Any = None
    action: Any = None
    liveaction: Any = None
    liveaction_id: Any = None
    entry_point: Any = None
    execution: Any = None
    rerun_ex_ref: Any = None
    auth_token: Any = None

    def __init__(self, runner_id: str) -> None:
        self.runner_id = runner_id


class NotificationsHelper:
    @staticmethod
    def from_model(model: Any) -> dict[str, Any]:
        return dict(model or {})


class Model:
    """Stands in for the classes of ``st2common.persistence``: rows by id."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def get(self, **query: str) -> Any:
        return self._rows[query["id"]]


def modules(
    action_db: Any, action_service: Any = None, rows: Any = None, access: Any = None
) -> dict[str, ModuleType]:
    """Return stub modules by name, for ``sys.modules``.

    :param action_db: takes the place of ``st2common.util.action_db``.
    :param action_service: takes the place of ``st2common.services.action``.
    :param rows: executions and live actions by id.
    :param access: takes the place of ``st2common.services.access``.
    """
    constants = ModuleType("st2common.constants.action")
    constants.LIVEACTION_STATUS_RUNNING = "running"
    constants.LIVEACTION_STATUS_FAILED = "failed"
    for status in ("canceled", "canceling", "pausing", "paused", "resuming"):
        setattr(constants, f"LIVEACTION_STATUS_{status.upper()}", status)
    constants.WORKFLOW_RUNNER_TYPES = ["action-chain", "orquesta"]
    constants.LIVEACTION_COMPLETED_STATES = [
        "succeeded",
        "failed",
        "timeout",
        "canceled",
        "abandoned",
    ]
    base = ModuleType("st2common.runners.base")
    base.AsyncActionRunner = AsyncActionRunner
    notification = ModuleType("st2common.models.api.notification")
    notification.NotificationsHelper = NotificationsHelper
    util = ModuleType("st2common.util")
    util.action_db = action_db
    api = ModuleType("st2common.util.api")
    api.get_full_public_api_url = lambda: "http://st2.example.org/api/v1"
    package = ModuleType("st2common.constants")
    package.action = constants
    services = ModuleType("st2common.services")
    services.action = action_service
    services.access = access
    executions = ModuleType("st2common.persistence.execution")
    executions.ActionExecution = Model(rows)
    live_actions = ModuleType("st2common.persistence.liveaction")
    live_actions.LiveAction = Model(rows)
    stubs = (constants, base, notification, util, api, package, services, executions, live_actions)
    named = {module.__name__: module for module in stubs}
    for name in [*named]:
        parts = name.split(".")
        for end in range(1, len(parts)):
            parent = ".".join(parts[:end])
            named.setdefault(parent, ModuleType(parent))
    return named


def forget() -> None:
    """Remove the runner's module, so that the next import uses the stubs."""
    sys.modules.pop("st2actions_mistral.runner.mistral_v2", None)
