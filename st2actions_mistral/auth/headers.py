"""Take the credential from a request, and put the user into it.

Mistral reads user, project and roles from headers that keystone's middleware sets elsewhere. A client
can send the same headers. With ``X-Target-Auth-Uri`` it could even choose the project, whatever the
others say. So nothing that a client sends may stay.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from st2actions_mistral.auth.refusal import Forbidden, Rejected
from st2actions_mistral.model.project import PROJECT_HEADER

TOKEN: Final = "X-Auth-Token"  # noqa: S105 - the name of a header
KEY: Final = "St2-Api-Key"

Environ = MutableMapping[str, Any]
"""A WSGI environment."""

# StackStorm's tokens have 32 characters, its API keys 86.
_SECRET: Final = re.compile(r"[!-~]{1,512}")
# Mistral's database has 80 characters for it.
_PROJECT: Final = re.compile(r"[!-~]{1,80}")

# All headers that begin with X-: Mistral reads about 30 of them, and a new release may read more. What
# reads X-Forwarded-… has done so before. The others are those of oslo.context and of this module.
_PREFIXES: Final = ("HTTP_X_", "HTTP_OPENSTACK_", "HTTP_ST2_", "keystone.")

_HOW: Final = (
    f"Send a StackStorm token in the header {TOKEN}, or an API key in {KEY}. For the command line"
    " mistral set MISTRAL_AUTH_TYPE=st2, OS_TARGET_AUTH_URL=st2, and ST2_API_KEY or ST2_AUTH_TOKEN."
)


@dataclass(frozen=True)
class Credential:
    """A token or an API key of a StackStorm user."""

    header: str
    """:data:`TOKEN` or :data:`KEY`."""
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Given:
    """The credential and the project of a request."""

    credential: Credential
    project_id: str | None
    """The project to act in; None: the user's own."""


@dataclass(frozen=True)
class Identity:
    """A user as Mistral sees one."""

    user: str
    project_id: str
    roles: tuple[str, ...]


def take(environ: Environ) -> Given:
    """Remove the credential and everything that could name a user, and return the credential.

    :raises Rejected: there is none, or it cannot be one.
    :raises Forbidden: the project cannot be one.
    """
    removed = {name: environ.pop(name) for name in [*environ] if name.startswith(_PREFIXES)}
    project_id = removed.get(_environ_name(PROJECT_HEADER))
    found = [
        Credential(header, secret)
        for header in (TOKEN, KEY)
        if (secret := removed.get(_environ_name(header)))
    ]
    if not found:
        raise Rejected(f"The request has no credential. {_HOW}")
    if len(found) > 1:
        raise Rejected(f"The request has both {TOKEN} and {KEY}: send one of them.")
    if not _SECRET.fullmatch(found[0].secret):
        raise Rejected(f"The value of {found[0].header} is no credential of StackStorm. {_HOW}")
    if project_id is not None and not _PROJECT.fullmatch(project_id):
        raise Forbidden(f"The value of {PROJECT_HEADER} is no project.")
    return Given(found[0], project_id)


def put(environ: Environ, identity: Identity) -> None:
    """Tell Mistral who sends the request. The credential does not go further.

    Mistral would send it to engines and executors, and Mistral 20 to 22 store it with the workflow.
    """
    for header, value in (
        ("X-Identity-Status", "Confirmed"),
        ("X-User-Id", identity.user),
        ("X-User-Name", identity.user),
        ("X-Project-Id", identity.project_id),
        ("X-Project-Name", identity.project_id),
        ("X-Roles", ",".join(identity.roles)),
    ):
        environ[_environ_name(header)] = value


def _environ_name(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"
