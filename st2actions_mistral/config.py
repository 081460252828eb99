"""The options of the package, and what becomes of them.

Importing this registers nothing: :func:`register_opts` does, on the configuration that it is given,
and :func:`list_opts` is what ``oslo-config-generator`` asks for.
"""

from __future__ import annotations

import functools
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oslo_config import cfg
from oslo_config.iniparser import ParseError

from st2actions_mistral.client import redact
from st2actions_mistral.client.credentials import HeaderSource
from st2actions_mistral.client.settings import (
    Credential,
    MistralSettings,
    Patience,
    St2Settings,
    Tls,
    checked_url,
)
from st2actions_mistral.errors import ConfigError, InputError
from st2actions_mistral.model.context import MistralIds, Parent, St2Context, is_signed

LOG: Final = logging.getLogger(__name__)

# The site stands in a filter of StackStorm's API, where a space would end it.
_SITE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

ST2_GROUP: Final = cfg.OptGroup("st2", title="How Mistral reaches StackStorm")
RELAY_GROUP: Final = cfg.OptGroup("st2_relay", title="The relay, which brings results back")

_ST2_OPTS: Final = (
    cfg.URIOpt(
        "api_url",
        default="http://127.0.0.1:9101/v1",
        schemes=["http", "https"],
        help="The URL of StackStorm's API, version included. Behind StackStorm's own nginx it is"
        " https://HOST/api/v1.",
    ),
    cfg.URIOpt(
        "stream_url",
        schemes=["http", "https"],
        help="The URL of StackStorm's event stream. Derived from api_url where it is not set:"
        " https://HOST/stream/v1/stream behind nginx, port 9102 beside an API on port 9101.",
    ),
    cfg.URIOpt(
        "auth_url",
        schemes=["http", "https"],
        help="The URL under which StackStorm's auth service has /tokens, such as"
        " https://HOST/auth/v1 or http://HOST:9100. Needed with username and password only.",
    ),
    cfg.StrOpt(
        "api_key",
        secret=True,
        help="An API key, as 'st2 apikey create -k' prints it. The usual way in.",
    ),
    cfg.StrOpt(
        "auth_token",
        secret=True,
        help="A token, as 'st2 auth -t' prints it. It ends after a day by default.",
    ),
    cfg.StrOpt("username", help="A user of StackStorm; goes with password and auth_url."),
    cfg.StrOpt("password", secret=True, help="The password of username."),
    cfg.StrOpt(
        "cafile",
        help="A file with the CA certificates (PEM) that StackStorm's certificate is checked against."
        " By default those of the certifi package.",
    ),
    cfg.BoolOpt("insecure", default=False, help="Accept any certificate of StackStorm."),
    cfg.FloatOpt("connect_timeout", default=5, min=0.1, help="Seconds to wait for a connection."),
    cfg.FloatOpt(
        "read_timeout", default=30, min=0.1, help="Seconds to wait for the next byte of an answer."
    ),
    cfg.FloatOpt(
        "retry_deadline", default=60, min=0, help="Seconds over all tries of one call. 0: one try."
    ),
    cfg.StrOpt(
        "site",
        default="mistral",
        help="Marks this Mistral's children in StackStorm, so that two Mistrals can share one"
        " StackStorm: letters, digits, '.', '_' and '-'. The same for all processes of one Mistral.",
    ),
    cfg.ListOpt(
        "allowed_api_urls",
        default=[],
        help="Further API URLs that a workflow's st2_context may name. They get no configured"
        " credential.",
    ),
    cfg.MultiStrOpt(
        "context_key",
        default=[],
        secret=True,
        help="A secret shared with StackStorm's side that signs the parent in a workflow's"
        " st2_context. With it, an unsigned parent is refused; without it, the parent's user is not"
        " passed on. Repeat the option to change the key: the first one signs, each of them is"
        " believed.",
    ),
    cfg.BoolOpt(
        "render_jinja",
        default=False,
        help="Let StackStorm render the parameters of st2.action as Jinja, with its datastore in"
        " reach of whoever fills them. By default they arrive as they are. An action's own input"
        " render_jinja goes first.",
    ),
)

_RELAY_OPTS: Final = (
    cfg.URIOpt(
        "mistral_url",
        default="http://127.0.0.1:8989/v2",
        schemes=["http", "https"],
        help="The URL of Mistral's API, version included.",
    ),
    cfg.StrOpt(
        "cafile",
        help="A file with the CA certificates (PEM) that Mistral's and keystone's certificates are"
        " checked against. By default those of the certifi package.",
    ),
    cfg.BoolOpt("insecure", default=False, help="Accept any certificate of Mistral and of keystone."),
    cfg.FloatOpt(
        "reconcile_interval",
        default=30,
        min=0.1,
        help="Seconds between two comparisons of what Mistral waits for with what StackStorm has"
        " finished. Results normally come at once, by the event stream.",
    ),
    cfg.FloatOpt(
        "adopt_after",
        default=120,
        min=0,
        help="Seconds after which the relay itself schedules an action that waits and has no child in"
        " StackStorm: an executor that dies takes with it what it had not sent yet. More than"
        " retry_deadline and read_timeout together, and the same on the executors' hosts: an action"
        " that begins so late looks first whether the relay was there before. 0: never.",
    ),
    cfg.FloatOpt(
        "lost_after",
        default=600,
        min=0,
        help="Seconds after which an action that waits ends in ERROR when its child has vanished from"
        " StackStorm or cannot be scheduled. 0: never.",
    ),
    cfg.BoolOpt(
        "cancel_orphans",
        default=True,
        help="Cancel a child in StackStorm once Mistral has given up its action: the workflow was"
        " cancelled or deleted, the task timed out or was retried.",
    ),
    cfg.PortOpt(
        "health_port",
        default=0,
        help="A port on 127.0.0.1 for the relay's /metrics (Prometheus' text format) and /health (503"
        " while neither system is in reach). 0: none.",
    ),
    cfg.IntOpt("workers", default=16, min=1, help="Results written to Mistral at once."),
    cfg.IntOpt(
        "field_size_limit_kb",
        default=1024,
        min=-1,
        help="As [engine] execution_field_size_limit_kb of Mistral. A larger result is cut to a"
        " summary with a link. -1: no limit.",
    ),
)


@dataclass(frozen=True)
class RelaySettings:
    """What the relay needs beside the two clients' settings."""

    site: str
    reconcile_interval: float
    """Seconds."""
    adopt_after: float
    """Seconds; 0: never."""
    lost_after: float
    """Seconds; 0: never."""
    cancel_orphans: bool
    workers: int
    field_size_limit_kb: int
    """Negative: no limit."""
    health_port: int = 0
    """On 127.0.0.1; 0: none."""


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """All options by group, for ``oslo-config-generator --namespace st2actions_mistral``."""
    from keystoneauth1 import loading

    keystone = [
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options("v3password"),
    ]
    known = {opt.dest for opt in _RELAY_OPTS}
    return [
        (ST2_GROUP.name, _ST2_OPTS),
        (RELAY_GROUP.name, [*_RELAY_OPTS, *(opt for opt in keystone if opt.dest not in known)]),
    ]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration. Safe to call again."""
    for group in (ST2_GROUP, RELAY_GROUP):
        # A group of its own: configurations that share one share the values set in it too.
        conf.register_group(cfg.OptGroup(group.name, title=group.title))
    conf.register_opts(_ST2_OPTS, group=ST2_GROUP)
    conf.register_opts(_RELAY_OPTS, group=RELAY_GROUP)


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
    options = _options(conf, ST2_GROUP, _ST2_OPTS)
    auth_url = options["auth_url"]
    stream_url = options["stream_url"]
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
        patience=_patience(options),
    )


def mistral_settings(conf: cfg.ConfigOpts) -> MistralSettings:
    """How the relay reaches Mistral. Its timeouts are those of ``[st2]``.

    :raises ConfigError: an option is malformed.
    """
    options = _options(conf, RELAY_GROUP, _RELAY_OPTS)
    return MistralSettings(
        url=checked_url("[st2_relay] mistral_url", options["mistral_url"] or ""),
        tls=Tls(cafile=options["cafile"], insecure=options["insecure"]),
        patience=_patience(_options(conf, ST2_GROUP, _ST2_OPTS)),
    )


def mistral_credential(conf: cfg.ConfigOpts) -> HeaderSource | None:
    """Who the relay is in Mistral: what keystoneauth's options in ``[st2_relay]`` say.

    :return: None where ``auth_type`` is not set: Mistral lets everybody in.
    :raises ConfigError: keystoneauth cannot make anything of the options.
    """
    from keystoneauth1 import exceptions, loading

    from st2actions_mistral.client.keystone import KeystoneCredential

    try:
        loading.register_auth_conf_options(conf, RELAY_GROUP.name)
        plugin = loading.load_auth_from_conf_options(conf, RELAY_GROUP.name)
    except (exceptions.ClientException, cfg.Error) as error:
        raise ConfigError(f"[st2_relay] auth_type and its options: {error}") from error
    if plugin is None:
        return None
    settings = mistral_settings(conf)
    return KeystoneCredential(plugin, settings.tls, settings.patience)


def relay_settings(conf: cfg.ConfigOpts) -> RelaySettings:
    """The relay's own options.

    :raises ConfigError: an option is malformed.
    """
    options = _options(conf, RELAY_GROUP, _RELAY_OPTS)
    return RelaySettings(
        site=site(conf),
        reconcile_interval=options["reconcile_interval"],
        adopt_after=options["adopt_after"],
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
    value: str = _options(conf, ST2_GROUP, _ST2_OPTS)["site"] or ""
    if not _SITE.fullmatch(value):
        raise ConfigError(
            f"[st2] site: {value!r:.80} must be 1 to 64 letters, digits, '.', '_' or '-'."
        )
    return value


def render_jinja(conf: cfg.ConfigOpts) -> bool:
    """Whether StackStorm renders parameters where an action does not say."""
    return bool(_options(conf, ST2_GROUP, _ST2_OPTS)["render_jinja"])


def late_after(conf: cfg.ConfigOpts) -> float:
    """Seconds after its making from which on an action may meet the relay, which schedules what has
    no child after ``adopt_after``; infinite where the relay does not.

    What begins before it has given up, or has its child, when the relay looks.
    """
    adopt_after: float = _options(conf, RELAY_GROUP, _RELAY_OPTS)["adopt_after"]
    patience = _patience(_options(conf, ST2_GROUP, _ST2_OPTS))
    if not adopt_after:
        return math.inf
    return max(0.0, adopt_after - patience.retry_deadline - patience.read_timeout)


def for_context(conf: cfg.ConfigOpts, context: St2Context) -> St2Settings:
    """How to reach the StackStorm that a workflow's ``st2_context`` names.

    Configured credentials go to the configured URL only.

    :raises InputError: the URL is neither the configured one nor among ``allowed_api_urls``.
    :raises ConfigError: an option is malformed.
    """
    settings = st2_settings(conf)
    wanted = context.api_url.rstrip("/") if context.api_url else settings.api_url
    if wanted == settings.api_url:
        return settings
    options = _options(conf, ST2_GROUP, _ST2_OPTS)
    allowed = [checked_url("[st2] allowed_api_urls", url) for url in options["allowed_api_urls"]]
    if wanted not in allowed:
        raise InputError(
            "st2_context.api_url",
            f"{redact.url(wanted):.200} is neither this Mistral's StackStorm ([st2] api_url) nor in"
            " [st2] allowed_api_urls.",
        )
    return St2Settings(api_url=wanted, tls=settings.tls, patience=settings.patience)


def context_keys(conf: cfg.ConfigOpts) -> list[str]:
    """The secrets that sign contexts: the first one signs, each of them is believed."""
    return [key for key in _options(conf, ST2_GROUP, _ST2_OPTS)["context_key"] if key]


def believed_parent(
    conf: cfg.ConfigOpts,
    context: St2Context,
    given: object,
    ids: MistralIds,
    *,
    to_end_it: bool = False,
) -> Parent | None:
    """The parent of a context, as far as it can be believed.

    Whoever fills ``st2_context`` chooses the execution to report to, and with ``user`` whom to act
    as. So with ``context_key`` set only a signed parent counts, and without it no user does. Whoever
    may read the environment of a workflow can copy its context into another one: a context that names
    its workflow execution counts there only, and only such a one may end its parent.

    :param given: the ``st2_context`` that ``context`` was read from.
    :param ids: where the context was found.
    :param to_end_it: for somebody who wants to give the parent its final state.
    :raises InputError: a parent without a valid signature, where ``context_key`` is set; a context of
        another workflow execution.
    """
    parent = context.parent
    if parent is None:
        return None
    keys = context_keys(conf)
    if keys and not (isinstance(given, dict) and is_signed(given, *keys)):
        raise InputError(
            "st2_context.signature",
            "does not fit the parent and [st2] context_key. Start the workflow from StackStorm,"
            " and configure the same context_key on both sides.",
        )
    bound_to = context.workflow_execution_id
    if bound_to and bound_to != ids.workflow_execution_id:
        raise InputError(
            "st2_context.workflow_execution_id",
            "the context belongs to another workflow execution. A sub-workflow needs one that names"
            " none.",
        )
    if keys:
        if to_end_it and not bound_to:
            raise InputError(
                "st2_context.workflow_execution_id",
                "is missing: with [st2] context_key, only a context that is signed for this workflow"
                " execution may end its parent.",
            )
        return parent
    _say_unsigned()
    return Parent(parent.execution_id)


@functools.cache
def _say_unsigned() -> None:
    LOG.warning(
        "The parents of workflows are not signed ([st2] context_key is not set): whoever may start a"
        " workflow can name any StackStorm execution as its parent. Their users are not passed on."
    )


def _options(conf: cfg.ConfigOpts, group: cfg.OptGroup, opts: Sequence[cfg.Opt]) -> dict[str, Any]:
    """The values of a group.

    :raises ConfigError: one of them is not what its option takes; the text names it.
    """
    values = {}
    for opt in opts:
        try:
            values[opt.name] = conf[group.name][opt.dest]
        except (cfg.Error, ValueError) as error:
            # A URL may hold a password where none belongs.
            if opt.secret or isinstance(opt, cfg.URIOpt):
                raise ConfigError(f"[{group.name}] {opt.name}: its value cannot be used.") from None
            raise ConfigError(f"[{group.name}] {opt.name}: {error}") from error
    return values


def _patience(options: dict[str, Any]) -> Patience:
    return Patience(
        connect_timeout=options["connect_timeout"],
        read_timeout=options["read_timeout"],
        retry_deadline=options["retry_deadline"],
    )
