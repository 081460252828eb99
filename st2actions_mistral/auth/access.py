"""Decide who a StackStorm user is in Mistral: the project and the roles."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from st2actions_mistral.auth.headers import Identity
from st2actions_mistral.auth.refusal import Forbidden
from st2actions_mistral.auth.users import User
from st2actions_mistral.config.auth import AuthSettings
from st2actions_mistral.model.project import DEFAULT_PROJECT, PROJECT_HEADER, project_text

ADMIN: Final = "admin"
"""Mistral shows all projects to a user with this role."""

# So no role of StackStorm is one that Mistral, or a policy written for keystone, knows.
_PREFIX: Final = "st2:"
# Mistral splits the list of roles at commas. A policy cannot name a role with other characters.
_ROLE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")

# MySQL compares projects without regard to case, accents and blanks at the end.
_PLAIN_USER: Final = re.compile(r"[a-z0-9._@+-]{1,64}")

_READING: Final = ("GET", "HEAD")


def identity_of(user: User, settings: AuthSettings, method: str, wanted: str | None = None) -> Identity:
    """Return who the user is in Mistral.

    :param method: of the request.
    :param wanted: the project to act in; None: the user's own.
    :raises Forbidden: the user may not act in this project.
    """
    roles = tuple(sorted(f"{_PREFIX}{role}" for role in user.roles if _ROLE.fullmatch(role)))
    own = project_of(user.name) if settings.project_per_user else DEFAULT_PROJECT
    is_relay = settings.project_per_user and user.name in settings.relay_users
    if wanted is not None:
        if wanted != own and not is_relay:
            raise Forbidden(
                f"The StackStorm user {user.name!r:.80} may not act in {project_text(wanted)}. If it is"
                " that of the relay, add it to [st2_auth] relay_users in mistral.conf."
            )
        # Not as an administrator: Mistral would look names up in all projects.
        return Identity(user.name, wanted, roles)
    if is_relay:
        if method not in _READING:
            # Mistral would file what follows under the project of the relay's user.
            raise Forbidden(
                f"The StackStorm user {user.name!r:.80} is in [st2_auth] relay_users, so it must name"
                f" the project that it acts in, with the header {PROJECT_HEADER}. The relay does so"
                " with [st2_relay] auth_type = st2."
            )
        return Identity(user.name, own, (*roles, ADMIN))
    if user.roles & settings.admin_roles:
        roles = (*roles, ADMIN)
    return Identity(user.name, own, roles)


def project_of(user: str) -> str:
    """Return the project of a user: the name, or a hash of a name that could be taken for another."""
    if _PLAIN_USER.fullmatch(user):
        return user
    return f"user:{hashlib.sha256(user.encode(errors='surrogatepass')).hexdigest()}"
