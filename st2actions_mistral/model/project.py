"""The OpenStack project of a record in Mistral, and the reason why the relay may not act there.

Mistral files everything that follows from an update under the project of the token that made it. See
``client.projects`` for what follows from that.
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

DEFAULT_PROJECT: Final = "<default-project>"
"""Mistral's project for everything where it has no authentication, or that of StackStorm's users."""

PROJECT_HEADER: Final = "St2-Mistral-Project"
"""The header that names the project to act in, where StackStorm authenticates Mistral's users."""


@dataclass(frozen=True)
class Scope:
    """The project that a credential is for."""

    project_id: str | None
    """None for a token without a project."""
    is_admin: bool = False
    """True if Mistral lets the token see all projects. It looks names up in all of them then."""
    is_named: bool = False
    """Each request names its project, see ``client.st2_login``. Without one, ``project_id`` is None."""

    @property
    def default_id(self) -> str | None:
        """The project to act in where none is given; None if there is none."""
        return DEFAULT_PROJECT if self.is_named and self.project_id is None else self.project_id


@dataclass(frozen=True)
class Project:
    """A project on which a user has a role."""

    id: str
    name: str


@dataclass(frozen=True)
class NoAccess:
    """The reason why the relay must not change a record."""

    project_id: str | None
    """The record's project; None where Mistral shows none."""
    reason: str
    """The missing right, as the end of a sentence about the record."""
    remedy: str
    """The step for an operator, as a sentence."""

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


def owner_of(row: Mapping[str, Any]) -> str | None:
    """Return the project of a record, also Mistral's own name for all without authentication.

    :return: None if Mistral shows none.
    """
    found = row.get("project_id")
    return found if isinstance(found, str) and found else None


def project_of(row: Mapping[str, Any]) -> str | None:
    """Return the OpenStack project of a record; None without keystone, or where Mistral shows none."""
    project = row.get("project_id")
    known = isinstance(project, str) and project not in ("", DEFAULT_PROJECT)
    return project if known else None
