"""The options of the package. Importing this registers nothing: :func:`register_opts` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oslo_config import cfg

ST2_GROUP: Final = cfg.OptGroup("st2", title="How Mistral reaches StackStorm")
RELAY_GROUP: Final = cfg.OptGroup("st2_relay", title="The relay, which brings results back")

# Seconds. A socket waits no longer than 2**31 milliseconds.
_LONGEST_SILENCE: Final = 1_000_000

TIMEOUT_OPTS: Final = (
    cfg.FloatOpt(
        "connect_timeout",
        default=5,
        min=0.1,
        max=_LONGEST_SILENCE,
        help="Seconds to wait for a connection.",
    ),
    cfg.FloatOpt(
        "read_timeout",
        default=30,
        min=0.1,
        max=_LONGEST_SILENCE,
        help="Seconds to wait for the next byte of an answer.",
    ),
    cfg.FloatOpt(
        "retry_deadline", default=60, min=0, help="Seconds over all tries of one call. 0: one try."
    ),
)

ST2_OPTS: Final = (
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
    *TIMEOUT_OPTS,
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

RELAY_OPTS: Final = (
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
        "resync_interval",
        default=30,
        min=0.1,
        help="Seconds between two comparisons of what Mistral waits for with what StackStorm has"
        " finished. Results normally come at once, by the event stream.",
    ),
    cfg.FloatOpt(
        "reschedule_after",
        default=120,
        min=0,
        help="Seconds after which the relay itself schedules an action that waits and has no child in"
        " StackStorm: an executor that dies takes with it what it had not sent yet. The same on the"
        " executors' hosts: a try to send an action that could still be at it then looks first whether"
        " the relay was there before. That is each one that begins within twice connect_timeout and"
        " read_timeout (70 by default) before it. 0: never.",
    ),
    cfg.FloatOpt(
        "lost_after",
        default=600,
        min=0,
        help="Seconds after which an action that waits ends in ERROR when its child has vanished from"
        " StackStorm or cannot be scheduled. Not less than reschedule_after. 0: never.",
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
        help="A port on 127.0.0.1 for the relay's /metrics (Prometheus' text format), /health (503"
        " while neither system is in reach) and /failing (what it could not settle, which st2-mistral"
        " status shows as the last error). 0: none.",
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


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """All options by group, for ``oslo-config-generator --namespace st2actions_mistral``."""
    return [
        (ST2_GROUP.name, ST2_OPTS),
        (RELAY_GROUP.name, [*RELAY_OPTS, *keystone_opts(RELAY_OPTS)]),
    ]


def keystone_opts(ours: Sequence[cfg.Opt]) -> list[cfg.Opt]:
    """Keystoneauth's options for a user and a password, but for those of the same name as ours."""
    from keystoneauth1 import loading

    keystone = [
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options("v3password"),
    ]
    known = {opt.dest for opt in ours}
    return [opt for opt in keystone if opt.dest not in known]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration. Safe to call again."""
    for group in (ST2_GROUP, RELAY_GROUP):
        # A group of its own: configurations that share one share the values set in it too.
        conf.register_group(cfg.OptGroup(group.name, title=group.title))
    conf.register_opts(ST2_OPTS, group=ST2_GROUP)
    conf.register_opts(RELAY_OPTS, group=RELAY_GROUP)
