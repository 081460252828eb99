"""Define the effects that a decision about an action execution has."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model.project import NoAccess


@dataclass(frozen=True)
class Complete:
    """Give the action the final state and result of its child execution."""

    action_execution_id: str
    state: str
    output: Mapping[str, Any] = field(repr=False)

    @property
    def summary(self) -> str:
        """The effect in words."""
        return f"complete it as {self.state}"


@dataclass(frozen=True)
class Close:
    """Give the action a final state although it has no result."""

    action_execution_id: str
    state: str
    reason: str
    unanswered: str | None = None
    """Id of the child execution if it is an inquiry, which StackStorm does not cancel."""

    @property
    def summary(self) -> str:
        """The effect in words."""
        return f"complete it as {self.state}: {self.reason}"


@dataclass(frozen=True)
class Resume:
    """Resume the execution that StackStorm paused for an inquiry."""

    execution_id: str
    reason: str

    @property
    def summary(self) -> str:
        """The effect in words."""
        return f"resume {self.execution_id}: {self.reason}"


@dataclass(frozen=True)
class Cancel:
    """Cancel a child execution."""

    execution_id: str
    reason: str

    @property
    def summary(self) -> str:
        """The effect in words."""
        return f"cancel {self.execution_id}: {self.reason}"


@dataclass(frozen=True)
class Schedule:
    """Create the execution that is missing."""

    request: ExecutionRequest = field(repr=False)

    @property
    def summary(self) -> str:
        """The effect in words."""
        return "reschedule it: it has no execution"


@dataclass(frozen=True)
class Wait:
    """Do nothing, for a reason."""

    reason: str
    until: float | None = None
    """Age in seconds at which more is done; None if only a change leads to more."""
    error: St2MistralError | None = None
    """Set if the action failed and must be retried."""
    no_access: NoAccess | None = None
    """Set if the relay must not act in the project of the action."""

    @property
    def summary(self) -> str:
        """The effect in words."""
        return f"nothing: {self.reason}"


class Look(enum.Enum):
    """Observe more, then decide again."""

    INPUTS = "read the inputs of the action"
    CHILDREN = "list all children of the action"
    ROOT = "get the outermost execution above its execution"
    RESULT = "fetch its large result, then complete it"

    @property
    def summary(self) -> str:
        """The effect in words."""
        return self.value


Effect = Union[Complete, Close, Cancel, Resume, Schedule, Wait, Look]
