"""The options of the runner: group ``[mistral]`` of StackStorm's st2.conf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from oslo_config import cfg

from st2actions_mistral.client.auth import Anonymous, MistralCredential
from st2actions_mistral.client.settings import MistralSettings, checked_url
from st2actions_mistral.config.load import (
    checked_keys,
    checked_site,
    keystone_credential,
    mistral_settings,
    timeouts,
)
from st2actions_mistral.config.options import TIMEOUT_OPTS, keystone_opts
from st2actions_mistral.config.values import read_group

GROUP: Final = cfg.OptGroup("mistral", title="How StackStorm's runner mistral-v2 reaches Mistral")

_OPTS: Final = (
    cfg.URIOpt(
        "v2_base_url",
        default="http://127.0.0.1:8989/v2",
        schemes=["http", "https"],
        help="The URL of Mistral's API, version included.",
    ),
    cfg.URIOpt(
        "api_url",
        schemes=["http", "https"],
        help="How Mistral reaches StackStorm's API, version included. By default workflows are not"
        " told, and Mistral's own option [st2] api_url counts. A Mistral that serves several StackStorm"
        " servers needs it, and has to have it among its [st2] allowed_api_urls.",
    ),
    cfg.StrOpt(
        "cafile",
        help="A file with the CA certificates (PEM) that Mistral's and keystone's certificates are"
        " checked against. By default those of the certifi package.",
    ),
    cfg.BoolOpt("insecure", default=False, help="Accept any certificate of Mistral and of keystone."),
    *TIMEOUT_OPTS,
    cfg.StrOpt("site", default="mistral", help="As [st2] site in mistral.conf."),
    cfg.MultiStrOpt(
        "context_key",
        default=[],
        secret=True,
        help="A secret shared with Mistral's [st2] context_key, which signs the execution that a"
        " workflow runs for. Of several, the first one signs.",
    ),
)

_NO_CREDENTIAL: Final = (
    "Set [mistral] auth_type and the options that go with it in st2.conf; that needs the package"
    " keystoneauth1 in StackStorm's virtualenv."
)


@dataclass(frozen=True)
class RunnerSettings:
    """What the runner needs to know."""

    mistral: MistralSettings
    site: str
    api_url: str | None = None
    """None: as Mistral's own options say."""
    context_key: str | None = field(default=None, repr=False)


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """All options by group, for ``oslo-config-generator --namespace st2actions_mistral.runner``."""
    return [(GROUP.name, [*_OPTS, *keystone_opts(_OPTS)])]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options known to a configuration. Safe to call again."""
    conf.register_group(cfg.OptGroup(GROUP.name, title=GROUP.title))
    conf.register_opts(_OPTS, group=GROUP.name)


def runner_settings(conf: cfg.ConfigOpts) -> RunnerSettings:
    """:raises ConfigError: an option is malformed."""
    group = GROUP.name
    options = read_group(conf, group, _OPTS)
    api_url = options["api_url"]
    keys = checked_keys(group, options["context_key"])
    return RunnerSettings(
        mistral=mistral_settings(group, "v2_base_url", options, timeouts(options)),
        site=checked_site(group, options["site"]),
        api_url=checked_url(f"[{group}] api_url", api_url) if api_url else None,
        context_key=keys[0] if keys else None,
    )


def credential(conf: cfg.ConfigOpts, settings: MistralSettings) -> MistralCredential:
    """Who the runner is in Mistral: what keystoneauth's options in ``[mistral]`` say, else nobody.

    :raises ConfigError: keystoneauth cannot make anything of the options.
    """
    try:
        found = keystone_credential(conf, GROUP.name, settings)
    except ImportError:
        # It is none of StackStorm's packages, and only a Mistral with keystone needs it.
        found = None
    return found or Anonymous(_NO_CREDENTIAL)
