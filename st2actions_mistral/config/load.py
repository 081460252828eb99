"""Read the options once, into one frozen tree of settings.

No package below this one knows the name of an option. What an error message needs of it is passed in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from oslo_config import cfg
from oslo_config.iniparser import ParseError

from st2actions_mistral.client.auth import MistralCredential, St2Credential
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import (
    Credential,
    CredentialNames,
    MistralSettings,
    St2Settings,
    Timeouts,
    Tls,
    checked_url,
)
from st2actions_mistral.config.keystone import checked_project_auth, mistral_credential
from st2actions_mistral.config.options import (
    PROJECT_AUTH,
    RELAY_GROUP,
    RELAY_OPTS,
    RESCHEDULE_AFTER,
    ST2_GROUP,
    ST2_OPTS,
    register_opts,
)
from st2actions_mistral.config.values import read_group
from st2actions_mistral.errors import ConfigError
from st2actions_mistral.model import project
from st2actions_mistral.model.result import OUTPUT_LAYOUT

# The site is part of a filter in StackStorm's API, where a space would end it.
_SITE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class BridgeSettings:
    """Settings of one ``st2.action`` or ``st2.callback``."""

    st2: St2Settings = field(default_factory=St2Settings)
    site: str = "mistral"
    """Marks the executions of this Mistral in StackStorm."""
    context_keys: tuple[str, ...] = field(default=(), repr=False)
    """Secrets that sign contexts. The first one signs; a signature by any of them is valid."""
    allowed_api_urls: tuple[str, ...] = ()
    """Further StackStorm APIs that a workflow may name."""
    render_jinja: bool = False
    """The default for actions that do not set ``render_jinja``."""
    result_layout: str = OUTPUT_LAYOUT
    """The layout of the results of parents, see ``model.result.laid_out``."""
    lookup_first_after: float = math.inf
    """Seconds after an action's creation. An attempt to create its execution that begins later looks
    the execution up first, because the relay may have created it. Infinite: the relay never does.

    An attempt that begins earlier finishes before the relay reschedules. One attempt takes at most a
    look-up and a POST, each bounded by the two timeouts.
    """
    makes_trusts: bool = False
    """Make keystone trusts for the relay, see ``config.trusts``."""


@dataclass(frozen=True)
class RelaySettings:
    """Settings of the relay beside those of the two clients."""

    site: str
    resync_interval: float
    """Seconds."""
    reschedule_after: float
    """Seconds; 0: never."""
    lost_after: float
    """Seconds; 0: never."""
    cancel_orphans: bool
    workers: int
    """Actions that are worked on at once."""
    field_size_limit_kb: int
    """KiB; negative: no limit."""
    result_layout: str = OUTPUT_LAYOUT
    """The layout of the results of parents, see ``model.result.laid_out``."""
    health_port: int = 0
    """On 127.0.0.1; 0: none."""
    project_auth: str = project.NONE
    """The way to act in the project of an action: a constant of ``model.project``."""
    context_keys: tuple[str, ...] = field(default=(), repr=False)
    """See :attr:`BridgeSettings.context_keys`."""


@dataclass(frozen=True)
class Settings:
    """All settings of ``[st2]`` and ``[st2_relay]``."""

    bridge: BridgeSettings
    mistral: MistralSettings
    relay: RelaySettings
    credential: MistralCredential | None = field(default=None, repr=False, compare=False)
    """The relay's credential for Mistral; None: Mistral has no authentication."""

    @property
    def st2(self) -> St2Settings:
        """StackStorm's API, as the options name it."""
        return self.bridge.st2


def read_files(
    files: Sequence[str] = (), *, register: Callable[[cfg.ConfigOpts], None] | None = None
) -> cfg.ConfigOpts:
    """Return a configuration of its own, for a process that is not one of Mistral's.

    :param files: configuration files; none: those that Mistral itself reads
        (``/etc/mistral/mistral.conf`` and similar).
    :param register: registers further options.
    :raises ConfigError: a file cannot be read, or an option does not take its value.
    """
    conf = cfg.ConfigOpts()
    register_opts(conf)
    if register is not None:
        register(conf)
    try:
        conf([], project="mistral", default_config_files=list(files) or None)
    except cfg.ConfigFileParseError as error:
        # Its text shows the invalid line, which may hold a secret.
        cause = error.__context__
        reason = f", line {cause.lineno}: {cause.msg}" if isinstance(cause, ParseError) else ""
        raise ConfigError(f"{error.config_file} cannot be read{reason}.") from None
    except (cfg.Error, ValueError) as error:
        raise ConfigError(str(error)) from error
    except SystemExit as error:
        # Raised for an option that the command line could have, such as debug. oslo.config has named it
        # on standard error.
        raise ConfigError("An option of [DEFAULT] has an invalid value.") from error
    return conf


def load_bridge_settings(conf: cfg.ConfigOpts) -> BridgeSettings:
    """Read what the two actions need: ``[st2]``, and what they must know of the relay.

    :raises ConfigError: an option is invalid or contradicts another.
    """
    register_opts(conf)
    return _bridge(
        read_group(conf, ST2_GROUP.name, ST2_OPTS),
        read_group(conf, RELAY_GROUP.name, [PROJECT_AUTH, RESCHEDULE_AFTER]),
    )


def load_settings(conf: cfg.ConfigOpts) -> Settings:
    """Read all options of ``[st2]`` and ``[st2_relay]``.

    :raises ConfigError: an option is invalid or contradicts another.
    """
    register_opts(conf)
    group = RELAY_GROUP.name
    options = read_group(conf, group, RELAY_OPTS)
    bridge = _bridge(read_group(conf, ST2_GROUP.name, ST2_OPTS), options)
    mistral = mistral_settings(group, "mistral_url", options, bridge.st2.timeouts)
    credential = mistral_credential(conf, group, mistral, lambda: _st2_credential(bridge.st2))
    project_auth = checked_project_auth(conf, group, options["project_auth"])
    return Settings(bridge, mistral, _relay(bridge, options, project_auth), credential)


def mistral_settings(
    group: str, url: str, options: Mapping[str, Any], timeouts: Timeouts
) -> MistralSettings:
    """Return how to reach Mistral, from the values of a group.

    :param url: the name of the option with the URL.
    :raises ConfigError: the URL is invalid.
    """
    return MistralSettings(
        url=checked_url(f"[{group}] {url}", options[url] or ""),
        tls=_tls(group, options),
        timeouts=timeouts,
    )


def checked_site(group: str, site: str | None) -> str:
    """Return the site unchanged.

    :raises ConfigError: it has other characters than letters, digits, ``.``, ``_`` and ``-``.
    """
    if not site or not _SITE.fullmatch(site):
        raise ConfigError(
            f"[{group}] site: {site or ''!r:.80} must be 1 to 64 letters, digits, '.', '_' or '-'."
        )
    return site


def checked_keys(group: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return the values of ``context_key`` unchanged.

    :raises ConfigError: one is empty. It would silently sign nothing.
    """
    if not all(keys):
        raise ConfigError(f"[{group}] context_key is empty: give it a secret, or remove the line.")
    return tuple(keys)


def timeouts_of(options: Mapping[str, Any]) -> Timeouts:
    """Return the timeouts in the values of a group with ``options.TIMEOUT_OPTS``."""
    return Timeouts(
        connect_timeout=options["connect_timeout"],
        read_timeout=options["read_timeout"],
        retry_deadline=options["retry_deadline"],
    )


def _bridge(options: Mapping[str, Any], relay: Mapping[str, Any]) -> BridgeSettings:
    group = ST2_GROUP.name
    reschedule_after = relay["reschedule_after"]
    st2 = _st2(group, options)
    attempt = 2 * (st2.timeouts.connect_timeout + st2.timeouts.read_timeout)
    return BridgeSettings(
        st2=st2,
        site=checked_site(group, options["site"]),
        context_keys=checked_keys(group, options["context_key"]),
        allowed_api_urls=tuple(
            checked_url(f"[{group}] allowed_api_urls", url) for url in options["allowed_api_urls"]
        ),
        render_jinja=options["render_jinja"],
        result_layout=options["result_layout"],
        lookup_first_after=max(0.0, reschedule_after - attempt) if reschedule_after else math.inf,
        makes_trusts=relay["project_auth"] == project.TRUST,
    )


def _st2(group: str, options: Mapping[str, Any]) -> St2Settings:
    def url(name: str) -> str | None:
        value = options[name]
        return checked_url(f"[{group}] {name}", value) if value else None

    return St2Settings(
        api_url=checked_url(f"[{group}] api_url", options["api_url"] or ""),
        stream_url=url("stream_url"),
        credential=Credential(
            api_key=options["api_key"],
            auth_token=options["auth_token"],
            username=options["username"],
            password=options["password"],
            auth_url=url("auth_url"),
            names=CredentialNames(
                **{name.name: f"[{group}] {name.name}" for name in fields(CredentialNames)}
            ),
        ),
        tls=_tls(group, options),
        timeouts=timeouts_of(options),
    )


def _st2_credential(st2: St2Settings) -> St2Credential:
    """Return the credential of ``[st2]``, for Mistral.

    :raises ConfigError: there is none.
    """
    given = st2.credential
    if not (given.api_key or given.auth_token or given.username):
        raise ConfigError(
            f"[{RELAY_GROUP.name}] auth_type is st2, but [{ST2_GROUP.name}] has no credential: set"
            f" {given.names.api_key}."
        )
    return St2Credential(st2, new_session(st2.tls))


def _relay(bridge: BridgeSettings, options: Mapping[str, Any], project_auth: str) -> RelaySettings:
    reschedule_after, lost_after = options["reschedule_after"], options["lost_after"]
    if 0 < lost_after < reschedule_after:
        raise ConfigError(
            f"[{RELAY_GROUP.name}] lost_after ({lost_after:g}) is less than reschedule_after"
            f" ({reschedule_after:g}): a lost action would end in ERROR before the relay reschedules"
            " it. Set lost_after to more, or reschedule_after to 0."
        )
    return RelaySettings(
        site=bridge.site,
        resync_interval=options["resync_interval"],
        reschedule_after=reschedule_after,
        lost_after=lost_after,
        cancel_orphans=options["cancel_orphans"],
        workers=options["workers"],
        field_size_limit_kb=options["field_size_limit_kb"],
        result_layout=bridge.result_layout,
        health_port=options["health_port"],
        project_auth=project_auth,
        context_keys=bridge.context_keys,
    )


def _tls(group: str, options: Mapping[str, Any]) -> Tls:
    return Tls(options["cafile"], options["insecure"], ca_option=f"[{group}] cafile")
