"""Read keystoneauth's options of a group: the credential for a Mistral with authentication.

``auth_type = st2`` is no plugin of keystoneauth: see ``client.st2_login``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oslo_config import cfg

from st2actions_mistral.client.auth import HeaderSource, MakePlugin, MistralCredential
from st2actions_mistral.client.settings import MistralSettings
from st2actions_mistral.client.st2_login import ST2, St2Login
from st2actions_mistral.config.values import read_group
from st2actions_mistral.errors import ConfigError
from st2actions_mistral.model import project

# The options that say what a token is for. A token for another project replaces all of them.
_SCOPE: Final = (
    "system_scope",
    "domain_id",
    "domain_name",
    "project_id",
    "project_name",
    "project_domain_id",
    "project_domain_name",
    "trust_id",
)

# Keystone issues tokens for one project only for these, although they take the options of a project.
_ONE_PROJECT: Final = frozenset(
    {
        "v3applicationcredential",
        "v3oauth2clientcredential",
        "v3oauth2mtlsclientcredential",
        "v3tokenlessauth",
    }
)


def mistral_credential(
    conf: cfg.ConfigOpts, group: str, settings: MistralSettings, st2: Callable[[], HeaderSource]
) -> MistralCredential | None:
    """Return the credential for Mistral that the options in a group describe.

    :param settings: of the Mistral in question; keystone is reached in the same way.
    :param st2: returns StackStorm's credential. It is called with ``auth_type = st2`` only.
    :return: None if ``auth_type`` is not set.
    :raises ConfigError: keystoneauth rejects the options.
    :raises ImportError: keystoneauth is not installed, and is needed.
    """
    if _registered_auth_type(conf, group) == ST2:
        return St2Login(st2())
    return keystone_credential(conf, group, settings)


def keystone_credential(
    conf: cfg.ConfigOpts, group: str, settings: MistralSettings
) -> MistralCredential | None:
    """Return the credential that keystoneauth's options in a group describe.

    :param settings: of the Mistral in question; keystone is reached in the same way.
    :return: None if ``auth_type`` is not set.
    :raises ConfigError: keystoneauth rejects the options.
    :raises ImportError: keystoneauth is not installed.
    """
    from keystoneauth1 import loading

    from st2actions_mistral.client.auth import KeystoneCredential

    def load(**replaced: str | None) -> Any:
        return loading.load_auth_from_conf_options(conf, group, **replaced)

    plugin = _reading(conf, group, load)
    if plugin is None:
        return None
    scope = _scope_options(conf, group)

    def make(project_id: str | None, trust_id: str | None) -> Any:
        return load(**{**scope, "project_id": project_id, "trust_id": trust_id})

    hint = f"See the options of keystoneauth in [{group}]: auth_type, auth_url, username …"
    scoped: MakePlugin | None = make if scope else None
    return KeystoneCredential(plugin, settings.tls, settings.timeouts, hint, make=scoped)


def checked_project_auth(conf: cfg.ConfigOpts, group: str, given: str | None) -> str:
    """Return how the relay may act in the project of an action: the option, or what follows from it.

    :param given: the option ``project_auth``; None: not set.
    :raises ConfigError: it contradicts the credential's options, which must have been read before.
    """
    auth_type = _auth_type(conf, group)
    if given is None:
        return project.SERVICE if auth_type else project.NONE
    option = f"[{group}] project_auth is {given}"
    if given == project.NONE:
        if auth_type:
            raise ConfigError(
                f"{option}, but auth_type is {auth_type}. Remove project_auth, or auth_type if Mistral"
                " has no authentication."
            )
        return given
    if not auth_type:
        raise ConfigError(
            f"{option}, but auth_type is not set. Set auth_type and its options, or remove project_auth"
            " if Mistral has no authentication."
        )
    if auth_type == ST2:
        if given == project.TRUST:
            raise ConfigError(f"{option}, but auth_type is {ST2}: only keystone has trusts. Remove it.")
        return given
    if not _scope_options(conf, group):
        raise ConfigError(
            f"{option}, but keystone gives a token for other projects to no auth_type"
            f" {auth_type}. Use a user with a password (auth_type = v3password), or remove project_auth"
            " and run one relay for each project."
        )
    return given


def _registered_auth_type(conf: cfg.ConfigOpts, group: str) -> str | None:
    """Return the same as :func:`_auth_type`, also before the options are registered.

    StackStorm does not install keystoneauth, which registers them.
    """
    try:
        from keystoneauth1 import loading
    except ImportError:
        opt = cfg.StrOpt("auth_type")
        conf.register_opt(opt, group=group)
        found: str | None = read_group(conf, group, [opt])[opt.name]
        return found
    loading.register_auth_conf_options(conf, group)
    return _auth_type(conf, group)


def _auth_type(conf: cfg.ConfigOpts, group: str) -> str | None:
    """Return the plugin's name; None where Mistral has no authentication."""
    section = conf[group].auth_section or group
    name: str | None = conf[section].auth_type
    return name if name and name != "none" else None


def _scope_options(conf: cfg.ConfigOpts, group: str) -> dict[str, None]:
    """Return the plugin's options for what a token is for; none if that cannot be chosen."""
    from keystoneauth1 import loading

    name = _auth_type(conf, group)
    if name is None or name in _ONE_PROJECT:
        return {}
    known = {option.dest for option in loading.get_auth_plugin_conf_options(name)}
    if not {"project_id", "trust_id"} <= known:
        return {}
    return {option: None for option in _SCOPE if option in known}


def _reading(conf: cfg.ConfigOpts, group: str, load: Callable[[], Any]) -> Any:
    """Return keystoneauth's plugin; None without ``auth_type``.

    :raises ConfigError: keystoneauth rejects the options.
    """
    from keystoneauth1 import exceptions, loading

    try:
        loading.register_auth_conf_options(conf, group)
        return load()
    except exceptions.ClientException as error:
        raise ConfigError(f"[{group}] auth_type and its options: {error}") from error
    except cfg.Error:
        # Its text may show a part of a password. Reading the options one by one names the invalid one.
        read_group(conf, group, loading.get_auth_common_conf_options())
        read_group(conf, group, loading.get_auth_plugin_conf_options(conf[group].auth_type))
        raise ConfigError(f"[{group}] auth_type and its options cannot be read.") from None
