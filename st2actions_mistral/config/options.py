"""Define the options of the package. :func:`register_opts` registers them; importing does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oslo_config import cfg

from st2actions_mistral.model import project
from st2actions_mistral.model.result import OUTPUT_LAYOUT, ST2MISTRAL_LAYOUT

ST2_GROUP: Final = cfg.OptGroup("st2", title="How Mistral reaches StackStorm")
RELAY_GROUP: Final = cfg.OptGroup(
    "st2_relay", title="The relay, which delivers results from StackStorm to Mistral"
)
PROVIDER_GROUP: Final = cfg.OptGroup(
    "st2_provider", title="Native actions: StackStorm's actions as actions of Mistral"
)
AUTH_GROUP: Final = cfg.OptGroup(
    "st2_auth", title="Authentication of Mistral's users by StackStorm, with [DEFAULT] auth_type = st2"
)
NOTIFIER_GROUP: Final = cfg.OptGroup(
    "st2_notifier", title="The notifier, which tells StackStorm of Mistral's events at once"
)

# Seconds. A socket's timeout may have at most 2**31 milliseconds.
_MAX_TIMEOUT: Final = 1_000_000

TIMEOUT_OPTS: Final = (
    cfg.FloatOpt(
        "connect_timeout",
        default=5,
        min=0.1,
        max=_MAX_TIMEOUT,
        help="Seconds to wait for a connection.",
    ),
    cfg.FloatOpt(
        "read_timeout",
        default=30,
        min=0.1,
        max=_MAX_TIMEOUT,
        help="Seconds to wait for the next byte of a response.",
    ),
    cfg.FloatOpt(
        "retry_deadline",
        default=60,
        min=0,
        help="Seconds from the first attempt of a request after which it is not retried. 0: no retry.",
    ),
)

LAYOUT_CHOICES: Final = (
    (OUTPUT_LAYOUT, "the workflow's output below the key output, as Orquesta does"),
    (ST2MISTRAL_LAYOUT, "the workflow's output at the top level, as StackStorm 3.2 did"),
)

ST2_OPTS: Final = (
    cfg.URIOpt(
        "api_url",
        default="http://127.0.0.1:9101/v1",
        schemes=["http", "https"],
        help="The URL of StackStorm's API, with its version. Behind StackStorm's nginx it is"
        " https://HOST/api/v1.",
    ),
    cfg.URIOpt(
        "stream_url",
        schemes=["http", "https"],
        help="The URL of StackStorm's event stream. If not set, it is derived from api_url:"
        " https://HOST/stream/v1/stream behind nginx, port 9102 beside an API on port 9101.",
    ),
    cfg.URIOpt(
        "auth_url",
        schemes=["http", "https"],
        help="The URL below which StackStorm's auth service has /tokens, such as"
        " https://HOST/auth/v1 or http://HOST:9100. Required with username and password, unused"
        " otherwise.",
    ),
    cfg.StrOpt(
        "api_key",
        secret=True,
        help="An API key, as 'st2 apikey create -k' prints it. Recommended. Set one of api_key,"
        " auth_token, and username with password.",
    ),
    cfg.StrOpt(
        "auth_token",
        secret=True,
        help="A token, as 'st2 auth -t' prints it. It expires after a day by default.",
    ),
    cfg.StrOpt("username", help="A StackStorm user. Requires password and auth_url."),
    cfg.StrOpt("password", secret=True, help="The password of username."),
    cfg.StrOpt(
        "cafile",
        help="A file with CA certificates (PEM) to verify StackStorm's certificate with. If not set,"
        " the certificates of the certifi package are used.",
    ),
    cfg.BoolOpt("insecure", default=False, help="Do not verify StackStorm's certificate."),
    *TIMEOUT_OPTS,
    cfg.StrOpt(
        "site",
        default="mistral",
        help="A name for this Mistral. It marks the executions that this Mistral creates in StackStorm,"
        " so that several Mistrals can share one StackStorm. 1 to 64 letters, digits, '.', '_' or '-'."
        " Set the same value for all processes of one Mistral.",
    ),
    cfg.ListOpt(
        "allowed_api_urls",
        default=[],
        help="URLs of further StackStorm APIs that a workflow's st2_context may name. They never get"
        " the credential that is configured here.",
    ),
    cfg.MultiStrOpt(
        "context_key",
        default=[],
        secret=True,
        help="A secret, shared with StackStorm's [mistral] context_key, that signs the parent execution"
        " in a workflow's st2_context. If set, a parent without a valid signature is rejected. If not"
        " set, the parent's user is not passed on. Repeat the option to replace a key: the first value"
        " signs, and a signature by any of the values is valid.",
    ),
    cfg.BoolOpt(
        "render_jinja",
        default=False,
        help="Let StackStorm render the parameters of st2.action as Jinja. Whoever controls a parameter"
        " can then read StackStorm's datastore. If false, parameters arrive unchanged. The action's"
        " input render_jinja overrides this option.",
    ),
    cfg.StrOpt(
        "result_layout",
        default=OUTPUT_LAYOUT,
        choices=LAYOUT_CHOICES,
        help="The layout of the result of a StackStorm execution that is a workflow. The result of a"
        " task that calls such an execution has the same layout. Set the same value for all processes"
        " of one Mistral, the relay included.",
    ),
)

RESCHEDULE_AFTER: Final = cfg.FloatOpt(
    "reschedule_after",
    default=120,
    min=0,
    help="Seconds after the creation of a pending action after which the relay creates its missing"
    " execution in StackStorm. An action is lost when the executor that had it dies. 0: never. Set the"
    " same value on the executors' hosts: an executor looks an execution up before it creates it if"
    " less than 2 * (connect_timeout + read_timeout) seconds are left until then (70 by default).",
)

PROJECT_AUTH: Final = cfg.StrOpt(
    "project_auth",
    choices=[
        (project.NONE, "Mistral has no authentication"),
        (project.SERVICE, "by its user's role on the action's project, which must not be admin"),
        (project.TRUST, "by a trust that st2.action makes for it, otherwise as service"),
    ],
    help="How the relay may act in the project of an action. Mistral files everything that follows"
    " from a result under the project of the token that delivered it. If not set, it is service"
    " with auth_type, and none without.",
)

TRUST_LIFETIME: Final = cfg.FloatOpt(
    "trust_lifetime",
    default=90 * 24 * 3600,
    min=6 * 3600,
    help="Seconds for which st2.action makes a trust, with project_auth = trust. It makes a new one"
    " when less than half of that is left, so set it to twice as long as a workflow may run. Set it on"
    " the hosts of Mistral's executors.",
)

RELAY_OPTS: Final = (
    cfg.URIOpt(
        "mistral_url",
        default="http://127.0.0.1:8989/v2",
        schemes=["http", "https"],
        help="The URL of Mistral's API, with its version.",
    ),
    cfg.StrOpt(
        "cafile",
        help="A file with CA certificates (PEM) to verify Mistral's and keystone's certificates with."
        " If not set, the certificates of the certifi package are used.",
    ),
    cfg.BoolOpt("insecure", default=False, help="Do not verify Mistral's and keystone's certificates."),
    PROJECT_AUTH,
    TRUST_LIFETIME,
    cfg.FloatOpt(
        "resync_interval",
        default=30,
        min=0.1,
        help="Seconds between two resyncs. A resync compares the pending actions in Mistral with the"
        " executions in StackStorm, and finds what the event stream missed.",
    ),
    RESCHEDULE_AFTER,
    cfg.FloatOpt(
        "lost_after",
        default=600,
        min=0,
        help="Seconds after which a pending action ends in ERROR if its execution has vanished from"
        " StackStorm or cannot be created. Must not be less than reschedule_after. 0: never.",
    ),
    cfg.BoolOpt(
        "cancel_orphans",
        default=True,
        help="Cancel an execution in StackStorm when its action in Mistral is no longer current: the"
        " workflow was cancelled or deleted, or the task timed out or was retried.",
    ),
    cfg.PortOpt(
        "health_port",
        default=0,
        help="A port on 127.0.0.1 where the relay serves /metrics (for Prometheus), /health (503 while"
        " neither StackStorm nor Mistral responds) and /failing (actions with errors, as st2-mistral"
        " status shows them). 0: none.",
    ),
    cfg.IntOpt("workers", default=16, min=1, help="How many actions the relay works on at once."),
    cfg.IntOpt(
        "field_size_limit_kb",
        default=1024,
        min=-1,
        help="The largest result in KiB that is delivered in full. Larger ones are truncated to a"
        " summary with a link to StackStorm. Set it to Mistral's [engine]"
        " execution_field_size_limit_kb. -1: no limit.",
    ),
)

PROVIDER_OPTS: Final = (
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Make each StackStorm action an action of Mistral, under its own name. Set the same value"
        " for Mistral's API and for all engines, and restart them.",
    ),
    cfg.ListOpt(
        "packs",
        default=[],
        help="The packs whose actions are offered. Empty: all packs.",
    ),
    cfg.FloatOpt(
        "refresh_interval",
        default=60,
        min=1,
        max=24 * 3600,
        help="Seconds between two listings of StackStorm's actions. A new action is known after this"
        " time at the latest. Mistral's API and each engine list them, 100 actions with one request.",
    ),
    cfg.IntOpt(
        "max_actions",
        default=5000,
        min=1,
        max=100_000,
        help="How many actions are offered at most. Of more, those with the first names are, and a"
        " warning is logged.",
    ),
)

AUTH_OPTS: Final = (
    cfg.BoolOpt(
        "project_per_user",
        default=False,
        help="Give each StackStorm user a project of their own in Mistral. If false, all users share"
        " the project of a Mistral without authentication. Set the same value for all API processes.",
    ),
    cfg.ListOpt(
        "admin_roles",
        default=[],
        help="StackStorm's RBAC roles whose users get the role admin in Mistral, such as system_admin."
        " Without RBAC in StackStorm nobody has it. With project_per_user, an administrator sees all"
        " projects, and workflows of an administrator find definitions of all projects.",
    ),
    cfg.ListOpt(
        "relay_users",
        default=[],
        help="With project_per_user: the StackStorm users who may read the records of all projects and"
        " act in each of them, which is the user of the relay's key. Unused without project_per_user.",
    ),
    cfg.FloatOpt(
        "cache_seconds",
        default=60,
        min=0,
        max=60,
        help="Seconds for which a credential that StackStorm accepted is not checked again. A revoked"
        " one may work that long.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=5,
        min=0.1,
        max=60,
        help="Seconds that a request to Mistral waits for StackStorm to check its credential. After"
        " that Mistral answers 503.",
    ),
    cfg.IntOpt(
        "checks_per_minute",
        default=1200,
        min=1,
        help="How many unknown credentials each API process lets StackStorm check in a minute. Requests"
        " with further ones get 429. Credentials that were accepted before do not count.",
    ),
)

NOTIFIER_OPTS: Final = (
    cfg.StrOpt(
        "trigger",
        help="The reference of a trigger in StackStorm, as pack.name, of which the notifier creates an"
        " instance for each event of a workflow or a task. It must have no parameters. If not set, the"
        " notifier only finishes, pauses and resumes the executions of workflows.",
    ),
    cfg.IntOpt(
        "workers",
        default=4,
        min=1,
        help="How many workflows the notifier works on at once; as many again for the trigger.",
    ),
    cfg.IntOpt(
        "queue_size",
        default=1000,
        min=1,
        help="How many workflows, and how many events for the trigger, may wait for a worker. More are"
        " dropped: the relay finishes the executions of such workflows, and no trigger is created.",
    ),
)


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return all options by group, for ``oslo-config-generator --namespace st2actions_mistral``."""
    return [
        (ST2_GROUP.name, ST2_OPTS),
        (RELAY_GROUP.name, [*RELAY_OPTS, *keystone_opts(RELAY_OPTS)]),
        (PROVIDER_GROUP.name, PROVIDER_OPTS),
        (AUTH_GROUP.name, AUTH_OPTS),
        (NOTIFIER_GROUP.name, NOTIFIER_OPTS),
    ]


def keystone_opts(ours: Sequence[cfg.Opt]) -> list[cfg.Opt]:
    """Return keystoneauth's options for user and password, without those that ``ours`` has too."""
    from keystoneauth1 import loading

    keystone = [
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options("v3password"),
    ]
    known = {opt.dest for opt in ours}
    return [opt for opt in keystone if opt.dest not in known]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options with a configuration. Safe to repeat."""
    for group, opts in (
        (ST2_GROUP, ST2_OPTS),
        (RELAY_GROUP, RELAY_OPTS),
        (PROVIDER_GROUP, PROVIDER_OPTS),
        (AUTH_GROUP, AUTH_OPTS),
        (NOTIFIER_GROUP, NOTIFIER_OPTS),
    ):
        # A new object: configurations that share a group object share its values too.
        conf.register_group(cfg.OptGroup(group.name, title=group.title))
        conf.register_opts(opts, group=group)
