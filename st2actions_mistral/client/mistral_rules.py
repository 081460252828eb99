"""Requests that show whether Mistral's policy has a rule for the user. None of them changes anything.

Mistral checks the policy (403) before it looks for the record (404) and at the new state (400).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# The id of no record.
_NONE: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class RuleRequest:
    """A request that Mistral answers with 403 if its policy denies a rule."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None


RULES: Final[Mapping[str, RuleRequest]] = {
    "action_executions:list": RuleRequest("GET", "/action_executions?limit=1&fields=id"),
    "action_executions:get": RuleRequest("GET", f"/action_executions/{_NONE}"),
    "action_executions:update": RuleRequest("PUT", f"/action_executions/{_NONE}", {"state": "NONE"}),
    "tasks:list": RuleRequest("GET", "/tasks?limit=1&fields=id"),
    "tasks:get": RuleRequest("GET", f"/tasks/{_NONE}"),
    "executions:list": RuleRequest("GET", "/executions?limit=1&fields=id"),
    "executions:get": RuleRequest("GET", f"/executions/{_NONE}"),
    "executions:update": RuleRequest("PUT", f"/executions/{_NONE}", {"state": "PAUSED"}),
    "actions:get": RuleRequest("GET", "/actions/st2.action"),
    "workflows:get": RuleRequest("GET", f"/workflows/{_NONE}"),
}
"""The rules that the relay needs, by their names in the policy."""

LISTING: Final = (
    "action_executions:list",
    "action_executions:get",
    "tasks:list",
    "tasks:get",
    "executions:list",
    "executions:get",
    "actions:get",
)
"""Rules for the token that sees the records of all projects. It changes nothing."""

ACTING: Final = tuple(RULES)
"""Rules for the token of one project."""
