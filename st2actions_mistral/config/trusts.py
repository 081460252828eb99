"""Read what ``st2.action`` needs to make a keystone trust for the relay."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from oslo_config import cfg

from st2actions_mistral.client.auth import MistralCredential
from st2actions_mistral.client.settings import Timeouts, Tls, checked_url
from st2actions_mistral.config.keystone import keystone_credential
from st2actions_mistral.config.load import mistral_settings
from st2actions_mistral.config.options import (
    RELAY_GROUP,
    RELAY_OPTS,
    TRUST_LIFETIME,
    register_opts,
)
from st2actions_mistral.config.values import read_group
from st2actions_mistral.errors import ConfigError

# keystoneauth's options that are read where no plugin brings them. keystoneauth's own auth_url is
# required, and could keep Mistral from reading its file again.
_WITHOUT_PLUGIN: Final = (cfg.StrOpt("auth-url"), cfg.StrOpt("user-id"))


@dataclass(frozen=True)
class TrustSettings:
    """Settings of the trusts from the users of workflows to the relay's user."""

    keystone_url: str
    """Of version 3 of keystone's API."""
    trustee_id: str | None
    """The id of the relay's user; None: the one of ``credential``."""
    lifetime: float
    """Seconds."""
    tls: Tls
    """The check of keystone's certificate."""
    timeouts: Timeouts
    credential: Callable[[], MistralCredential | None] = field(
        default=lambda: None, repr=False, compare=False
    )
    """Returns the relay's credential."""


def load_trust_settings(conf: cfg.ConfigOpts, timeouts: Timeouts) -> TrustSettings:
    """Read the options of ``[st2_relay]`` that concern trusts, where ``project_auth`` is ``trust``.

    It is called for each action, so it reads no more than it needs.

    :param timeouts: for keystone.
    :raises ConfigError: an option is missing or invalid.
    """
    register_opts(conf)
    group = RELAY_GROUP.name
    tls = [opt for opt in RELAY_OPTS if opt.name in ("cafile", "insecure")]
    options = read_group(conf, group, [TRUST_LIFETIME, *tls])
    auth_type, auth_url, trustee_id = _keystone_options(conf, group)
    if not auth_url:
        raise ConfigError(f"[{group}] auth_url is not set: project_auth = trust needs keystone's URL.")
    if not trustee_id and not auth_type:
        raise ConfigError(
            f"[{group}] user_id is not set: project_auth = trust needs the id of the relay's user, or"
            " auth_type and the options that belong to it."
        )
    url = checked_url(f"[{group}] auth_url", auth_url)
    return TrustSettings(
        keystone_url=url if url.endswith("/v3") else f"{url}/v3",
        trustee_id=trustee_id,
        lifetime=options["trust_lifetime"],
        tls=Tls(options["cafile"], options["insecure"], ca_option=f"[{group}] cafile"),
        timeouts=timeouts,
        credential=functools.partial(_credential, conf, timeouts),
    )


def _credential(conf: cfg.ConfigOpts, timeouts: Timeouts) -> MistralCredential | None:
    group = RELAY_GROUP.name
    mistral = mistral_settings(group, "mistral_url", read_group(conf, group, RELAY_OPTS), timeouts)
    return keystone_credential(conf, group, mistral)


def _keystone_options(conf: cfg.ConfigOpts, group: str) -> list[str | None]:
    """Return ``auth_type``, ``auth_url`` and ``user_id`` of the relay.

    The last two are options of keystoneauth's plugin. A host of executors needs no password, and so no
    ``auth_type``.
    """
    from keystoneauth1 import exceptions, loading

    try:
        loading.register_auth_conf_options(conf, group)
        section = conf[group].auth_section or group
        auth_type = conf[section].auth_type
        opts = loading.get_auth_plugin_conf_options(auth_type) if auth_type else _WITHOUT_PLUGIN
    except exceptions.ClientException as error:
        raise ConfigError(f"[{group}] auth_type and its options: {error}") from error
    except cfg.Error:
        # Its text may show a part of a password.
        raise ConfigError(f"[{group}] auth_type and its options cannot be read.") from None
    conf.register_opts(opts, group=section)
    # Not every plugin has each option.
    wanted = [opt for opt in opts if opt.dest in ("auth_url", "user_id")]
    found = {name.replace("-", "_"): value for name, value in read_group(conf, section, wanted).items()}
    return [auth_type, found.get("auth_url"), found.get("user_id")]
