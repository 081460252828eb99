"""The OpenStack project of a record in Mistral, and the decision not to write to another project's.

Mistral files everything that follows from an update under the project of the token that made it.
Completing an action of another project moves the rest of its workflow into the relay's project, and
looks names up there: with a private definition of the same name in both projects, the wrong one ran
(measured with 23.0.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

NONE: Final = "none"
"""Mistral has no authentication, so its records have no owner."""
SERVICE: Final = "service"
"""The relay's user has a role on each project."""
TRUST: Final = "trust"
"""The user of a workflow lets the relay act for them."""

REMEDY: Final = "Run one relay per project, as a non-admin of that project."

# Mistral's project for everything where it has no authentication.
_WITHOUT_AUTHENTICATION: Final = "<default-project>"


@dataclass(frozen=True)
class Scope:
    """The project that a keystone token is for."""

    project_id: str | None
    """None for a token without a project."""
    is_admin: bool = False
    """True if Mistral lets the token see all projects. It looks names up in all of them then."""


@dataclass(frozen=True)
class NoAccess:
    """The reason why a record must not be written to, although it is the relay's turn."""

    project_id: str | None
    """The record's project; None where Mistral shows none."""
    reason: str
    """What the relay lacks, as the end of a sentence about the record."""
    remedy: str
    """What an operator can do about it, as a sentence."""

    @property
    def project(self) -> str:
        """The record's project, for messages."""
        return project_text(self.project_id)

    @property
    def text(self) -> str:
        """Reason and remedy, for messages."""
        return f"{self.reason}. {self.remedy}"


def project_text(project_id: str | None) -> str:
    """Return a project for messages, in one line of bounded length: its id comes from Mistral."""
    return f"project {project_id!r:.80}" if project_id else "an unknown project"


@dataclass(frozen=True)
class Foreign:
    """A record that must not be written to, because it is not of the token's project."""

    project_id: str | None
    """The record's project; None where Mistral shows none."""
    scope: Scope

    @property
    def project(self) -> str:
        """The record's project, for messages."""
        return f"project {self.project_id!r:.80}" if self.project_id else "an unknown project"

    @property
    def reason(self) -> str:
        """The reason not to write to the record, for messages."""
        own = self.scope.project_id
        token = f"is for project {own!r:.80}" if own else "has no project"
        return f"it belongs to {self.project}, and the relay's token {token}"


def foreign(row: Mapping[str, Any], scope: Scope | None) -> Foreign | None:
    """Decide whether a record of Mistral belongs to another project than the token.

    A record without a project, and a token without one, count as foreign.

    :param row: an action execution or a workflow execution with ``project_id``.
    :param scope: of the token; None where Mistral has no authentication.
    :return: None where the record may be written to.
    """
    if scope is None:
        return None
    project = row.get("project_id")
    project_id = project if isinstance(project, str) and project else None
    if project_id is not None and project_id == scope.project_id:
        return None
    return Foreign(project_id, scope)


def project_of(row: Mapping[str, Any]) -> str | None:
    """Return the OpenStack project of a record; None without keystone, or where Mistral shows none."""
    project = row.get("project_id")
    known = isinstance(project, str) and project not in ("", _WITHOUT_AUTHENTICATION)
    return project if known else None
