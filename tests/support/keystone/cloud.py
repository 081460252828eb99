"""The projects, users and roles of the cloud that tests share.

The tests of a worker share a keystone: a test that disables a user or revokes a role creates its own.
"""

from __future__ import annotations

from typing import Final

from support.keystone.api import Keystone

RELAY_ROLE: Final = "st2-relay"
"""A role that means nothing to Mistral: its policies ask for a project, or for ``admin``."""

ROLES: Final = {
    "user-of-a": {"a": "member"},
    "user-of-b": {"b": "member"},
    "user-of-service": {"service": "member"},
    "mistral": {"service": "service"},
    "relay": {"service": "admin", "a": RELAY_ROLE, "b": RELAY_ROLE},
}
"""The role of each user in each project.

``mistral`` validates tokens for Mistral. ``relay`` lists across projects as an administrator of
``service``, and is an ordinary user of the two others.
"""


def populate(keystone: Keystone) -> None:
    """Create the projects, users and roles."""
    keystone.create_role(RELAY_ROLE)
    for project in sorted({project for roles in ROLES.values() for project in roles}):
        keystone.create_project(project)
    for user, roles in ROLES.items():
        keystone.create_user(user)
        for project, role in roles.items():
            keystone.grant(role, user, project)
