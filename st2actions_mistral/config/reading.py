"""What becomes of the options: the settings of the rooms above and below."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from oslo_config import cfg
from oslo_config.iniparser import ParseError

from st2actions_mistral.client.credentials import MistralCredential
from st2actions_mistral.client.settings import (
    Credential,
    MistralSettings,
    St2Settings,
    Timeouts,
    Tls,
    checked_url,
)
from st2actions_mistral.config.options import (
    RELAY_GROUP,
    RELAY_OPTS,
    ST2_GROUP,
    ST2_OPTS,
    register_opts,
)
from st2actions_mistral.errors import ConfigError

# The site stands in a filter of StackStorm's API, where a space would end it.
_SITE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Seconds, some 30 years. No clock here counts to infinity, nor much further than that.
_LONGEST: Final = 1e9

_LOCATION: Final = re.compile(r"Value for option \S+ from LocationInfo\(.*?, detail='(.+?)'\) ")


@dataclass(frozen=True)
class RelaySettings:
    """What the relay needs beside the two clients' settings."""

    site: str
    resync_interval: float
    """Seconds."""
    reschedule_after: float
    """Seconds; 0: never."""
    lost_after: float
    """Seconds; 0: never."""
    cancel_orphans: bool
    workers: int
    field_size_limit_kb: int
    """Negative: no limit."""
    health_port: int = 0
    """On 127.0.0.1; 0: none."""


def load(files: Sequence[str] = ()) -> cfg.ConfigOpts:
    """A configuration of its own, for a process that is not one of Mistral's.

    :param files: configuration files; where there are none, those that Mistral itself reads
        (``/etc/mistral/mistral.conf`` and its like).
    :raises ConfigError: a file cannot be read or holds a value that an option does not take.
    """
    conf = cfg.ConfigOpts()
    register_opts(conf)
    try:
        conf([], project="mistral", default_config_files=list(files) or None)
    except cfg.ConfigFileParseError as error:
        # Its text shows the line, and a line that went wrong may hold a secret.
        cause = error.__context__
        reason = f", line {cause.lineno}: {cause.msg}" if isinstance(cause, ParseError) else ""
        raise ConfigError(f"{error.config_file} cannot be read{reason}.") from None
    except (cfg.Error, ValueError) as error:
        raise ConfigError(str(error)) from error
    return conf


def st2_settings(conf: cfg.ConfigOpts) -> St2Settings:
    """How to reach StackStorm.

    :raises ConfigError: an option is malformed or contradicts another.
    """
    options = values(conf, ST2_GROUP, ST2_OPTS)
    auth_url = options["auth_url"]
    stream_url = options["stream_url"]
    # Here, so that every process says it at once and not with the first signed context.
    checked_keys("[st2] context_key", options["context_key"])
    return St2Settings(
        api_url=checked_url("[st2] api_url", options["api_url"] or ""),
        stream_url=checked_url("[st2] stream_url", stream_url) if stream_url else None,
        credential=Credential(
            api_key=options["api_key"],
            auth_token=options["auth_token"],
            username=options["username"],
            password=options["password"],
            auth_url=checked_url("[st2] auth_url", auth_url) if auth_url else None,
        ),
        tls=Tls(cafile=options["cafile"], insecure=options["insecure"]),
        timeouts=timeouts(options),
    )


def mistral_settings(conf: cfg.ConfigOpts) -> MistralSettings:
    """How the relay reaches Mistral. Its timeouts are those of ``[st2]``.

    :raises ConfigError: an option is malformed.
    """
    options = values(conf, RELAY_GROUP, RELAY_OPTS)
    return MistralSettings(
        url=checked_url("[st2_relay] mistral_url", options["mistral_url"] or ""),
        tls=Tls(cafile=options["cafile"], insecure=options["insecure"]),
        timeouts=timeouts(values(conf, ST2_GROUP, ST2_OPTS)),
    )


def mistral_credential(conf: cfg.ConfigOpts) -> MistralCredential | None:
    """Who the relay is in Mistral: what keystoneauth's options in ``[st2_relay]`` say.

    :return: None where ``auth_type`` is not set: Mistral lets everybody in.
    :raises ConfigError: keystoneauth cannot make anything of the options.
    """
    return keystone_credential(conf, RELAY_GROUP.name, mistral_settings(conf))


def keystone_credential(
    conf: cfg.ConfigOpts, group: str, settings: MistralSettings
) -> MistralCredential | None:
    """What keystoneauth's options in a group say; None where ``auth_type`` is not set.

    :param settings: of the Mistral in question; keystone is reached in the same way.
    :raises ConfigError: keystoneauth cannot make anything of the options.
    :raises ImportError: keystoneauth is not installed.
    """
    from keystoneauth1 import exceptions, loading

    from st2actions_mistral.client.keystone import KeystoneCredential

    try:
        loading.register_auth_conf_options(conf, group)
        plugin = loading.load_auth_from_conf_options(conf, group)
    except exceptions.ClientException as error:
        raise ConfigError(f"[{group}] auth_type and its options: {error}") from error
    except cfg.Error:
        # Its text may show a part of a password. Reading them one by one names the option.
        values(conf, cfg.OptGroup(group), loading.get_auth_common_conf_options())
        values(conf, cfg.OptGroup(group), loading.get_auth_plugin_conf_options(conf[group].auth_type))
        raise ConfigError(f"[{group}] auth_type and its options cannot be read.") from None
    return KeystoneCredential(plugin, settings.tls, settings.timeouts) if plugin else None


def relay_settings(conf: cfg.ConfigOpts) -> RelaySettings:
    """The relay's own options.

    :raises ConfigError: an option is malformed or contradicts another.
    """
    options = values(conf, RELAY_GROUP, RELAY_OPTS)
    reschedule_after, lost_after = options["reschedule_after"], options["lost_after"]
    if 0 < lost_after < reschedule_after:
        raise ConfigError(
            f"[st2_relay] lost_after ({lost_after:g}) is less than reschedule_after"
            f" ({reschedule_after:g}): a lost action would end in ERROR before the relay reschedules"
            " it. Set lost_after to more, or reschedule_after to 0."
        )
    return RelaySettings(
        site=site(conf),
        resync_interval=options["resync_interval"],
        reschedule_after=options["reschedule_after"],
        lost_after=options["lost_after"],
        cancel_orphans=options["cancel_orphans"],
        workers=options["workers"],
        field_size_limit_kb=options["field_size_limit_kb"],
        health_port=options["health_port"],
    )


def site(conf: cfg.ConfigOpts) -> str:
    """The mark of this Mistral's children.

    :raises ConfigError: it holds something else than letters, digits, ``.``, ``_`` and ``-``.
    """
    return checked_site("[st2] site", values(conf, ST2_GROUP, ST2_OPTS)["site"])


def checked_site(option: str, value: str | None) -> str:
    """The mark, as it is.

    :param option: its name, for the error.
    :raises ConfigError: as :func:`site`.
    """
    if not value or not _SITE.fullmatch(value):
        raise ConfigError(
            f"{option}: {value or ''!r:.80} must be 1 to 64 letters, digits, '.', '_' or '-'."
        )
    return value


def checked_keys(option: str, keys: Sequence[str]) -> list[str]:
    """The keys, as they are.

    :param option: its name, for the error.
    :raises ConfigError: one is empty. Nothing would be signed with it, and nobody would notice.
    """
    if not all(keys):
        raise ConfigError(f"{option} is empty: give it a secret, or remove the line.")
    return list(keys)


def context_keys(conf: cfg.ConfigOpts) -> list[str]:
    """The secrets that sign contexts: the first one signs, each of them is believed.

    :raises ConfigError: one is empty.
    """
    return checked_keys("[st2] context_key", values(conf, ST2_GROUP, ST2_OPTS)["context_key"])


def render_jinja(conf: cfg.ConfigOpts) -> bool:
    """Whether StackStorm renders parameters where an action does not say."""
    return bool(values(conf, ST2_GROUP, ST2_OPTS)["render_jinja"])


def late_after(conf: cfg.ConfigOpts) -> float:
    """Seconds after the making of an action from which on a try to send it may meet the relay, which
    schedules what has no child after ``reschedule_after``; infinite where the relay does not.

    A try that begins before it is over when the relay looks: it is a look-up at most, and a POST that
    StackStorm may get to see as late as it takes to connect and to answer.
    """
    reschedule_after: float = values(conf, RELAY_GROUP, RELAY_OPTS)["reschedule_after"]
    waits = timeouts(values(conf, ST2_GROUP, ST2_OPTS))
    if not reschedule_after:
        return math.inf
    return max(0.0, reschedule_after - 2 * (waits.connect_timeout + waits.read_timeout))


def values(conf: cfg.ConfigOpts, group: cfg.OptGroup, opts: Sequence[cfg.Opt]) -> dict[str, Any]:
    """The values of a group.

    :raises ConfigError: one of them is not what its option takes; the text names it.
    """
    values = {}
    for opt in opts:
        try:
            values[opt.name] = conf[group.name][opt.dest]
        except (cfg.Error, ValueError) as error:
            place = f" in {file}" if (file := _file_of(error)) else ""
            # What a URL or a secret is made of is not shown, nor what is below this error.
            raise ConfigError(f"[{group.name}] {opt.dest}{place}: {_reason(opt, error)}") from None
        value = values[opt.name]
        # Not "is more than": NaN is not.
        if isinstance(value, float) and not abs(value) <= _LONGEST:
            raise ConfigError(f"[{group.name}] {opt.name}: {value} is no number of seconds to wait.")
    return values


def _file_of(error: Exception) -> str | None:
    """The file that an option stands in, which oslo.config tells in the repr of a location only."""
    found = _LOCATION.match(str(error))
    return found[1] if found else None


def _reason(opt: cfg.Opt, error: Exception) -> str:
    """What is wrong with a value, without what may be a password in it."""
    if not isinstance(error, ValueError):
        return "names another option with $, and there is none. Write $$ for a dollar sign."
    if not opt.secret and not isinstance(opt, cfg.URIOpt):
        # oslo.config puts its location around the words of the type.
        cause = error.__context__
        return f"{cause if isinstance(cause, ValueError) else error}."
    return "must be a URL that begins with http:// or https://, and names a host."


def timeouts(options: Mapping[str, Any]) -> Timeouts:
    """How long to wait, of the values of a group with :data:`TIMEOUT_OPTS`."""
    return Timeouts(
        connect_timeout=options["connect_timeout"],
        read_timeout=options["read_timeout"],
        retry_deadline=options["retry_deadline"],
    )
