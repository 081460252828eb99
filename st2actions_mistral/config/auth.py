"""Read the options of ``[st2_auth]``."""

from __future__ import annotations

from dataclasses import dataclass, field

from oslo_config import cfg

from st2actions_mistral.client.settings import Tls
from st2actions_mistral.config.load import load_bridge_settings
from st2actions_mistral.config.options import AUTH_GROUP, AUTH_OPTS, register_opts
from st2actions_mistral.config.values import read_group


@dataclass(frozen=True)
class AuthSettings:
    """Settings of the authentication of Mistral's users by StackStorm."""

    api_url: str
    """StackStorm's API."""
    tls: Tls = field(default_factory=Tls)
    project_per_user: bool = False
    """Each user has a project; otherwise all share one."""
    admin_roles: frozenset[str] = frozenset()
    """StackStorm's RBAC roles that are the role admin in Mistral."""
    relay_users: frozenset[str] = frozenset()
    """With ``project_per_user``: the users who may act in all projects."""
    cache_seconds: float = 60
    """Seconds for which an accepted credential is not checked again."""
    timeout: float = 5
    """Seconds that a request waits for StackStorm."""
    checks_per_minute: int = 1200
    """Unknown credentials that StackStorm checks for one process."""


def load_auth_settings(conf: cfg.ConfigOpts) -> AuthSettings:
    """Read the options, and the URL and the TLS of ``[st2]``.

    The credential in ``[st2]`` is not used: each user's own one is checked.

    :raises ConfigError: an option is invalid.
    """
    register_opts(conf)
    options = read_group(conf, AUTH_GROUP.name, AUTH_OPTS)
    st2 = load_bridge_settings(conf).st2
    return AuthSettings(
        api_url=st2.api_url,
        tls=st2.tls,
        project_per_user=options["project_per_user"],
        admin_roles=frozenset(options["admin_roles"]),
        relay_users=frozenset(options["relay_users"]),
        cache_seconds=options["cache_seconds"],
        timeout=options["timeout"],
        checks_per_minute=options["checks_per_minute"],
    )
