"""Define and load the options of the runner: group ``[mistral]`` of StackStorm's st2.conf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from oslo_config import cfg

from st2actions_mistral.client.auth import Anonymous, MistralCredential
from st2actions_mistral.client.settings import MistralSettings, checked_url
from st2actions_mistral.client.st2_login import ExecutionToken
from st2actions_mistral.config.keystone import mistral_credential
from st2actions_mistral.config.load import checked_keys, checked_site, mistral_settings, timeouts_of
from st2actions_mistral.config.options import LAYOUT_CHOICES, TIMEOUT_OPTS, keystone_opts
from st2actions_mistral.config.values import read_group
from st2actions_mistral.model.result import OUTPUT_LAYOUT

GROUP: Final = cfg.OptGroup("mistral", title="How StackStorm's runner mistral-v2 reaches Mistral")

_OPTS: Final = (
    cfg.URIOpt(
        "v2_base_url",
        default="http://127.0.0.1:8989/v2",
        schemes=["http", "https"],
        help="The URL of Mistral's API, with its version.",
    ),
    cfg.URIOpt(
        "api_url",
        schemes=["http", "https"],
        help="The URL of StackStorm's API, with its version, under which Mistral reaches it. If not"
        " set, Mistral's option [st2] api_url is used. Required if one Mistral serves several"
        " StackStorms; add it to Mistral's [st2] allowed_api_urls.",
    ),
    cfg.StrOpt(
        "cafile",
        help="A file with CA certificates (PEM) to verify Mistral's and keystone's certificates with."
        " If not set, the certificates of the certifi package are used.",
    ),
    cfg.BoolOpt("insecure", default=False, help="Do not verify Mistral's and keystone's certificates."),
    *TIMEOUT_OPTS,
    cfg.StrOpt("site", default="mistral", help="The same value as [st2] site in mistral.conf."),
    cfg.MultiStrOpt(
        "context_key",
        default=[],
        secret=True,
        help="A secret, shared with Mistral's [st2] context_key, that signs the execution that a"
        " workflow runs for. If the option is repeated, the first value signs.",
    ),
    cfg.StrOpt(
        "result_layout",
        default=OUTPUT_LAYOUT,
        choices=LAYOUT_CHOICES,
        help="The same value as [st2] result_layout in mistral.conf. Here it is that of the results of"
        " workflows that could not be started.",
    ),
    cfg.ListOpt(
        "expression_functions",
        default=[],
        help="Names of expression functions that other plugins of Mistral bring. A workflow with an"
        " unknown function whose name is like that of a known one is not started.",
    ),
)

_NO_CREDENTIAL: Final = (
    "Set [mistral] auth_type in st2.conf: to st2 if StackStorm authenticates Mistral's users. For"
    " keystone, set it and the options that belong to it, and install the package keystoneauth1 in"
    " StackStorm's virtualenv."
)


@dataclass(frozen=True)
class RunnerSettings:
    """All settings of ``[mistral]`` but the credential."""

    mistral: MistralSettings
    site: str
    api_url: str | None = None
    """The URL under which Mistral reaches StackStorm; None: the one in Mistral's options."""
    context_key: str | None = field(default=None, repr=False)
    result_layout: str = OUTPUT_LAYOUT
    """See ``model.result.laid_out``."""
    expression_functions: tuple[str, ...] = ()
    """Expression functions that other plugins of Mistral bring."""


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return all options by group, for oslo-config-generator."""
    return [(GROUP.name, [*_OPTS, *keystone_opts(_OPTS)])]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options with a configuration. Safe to repeat."""
    conf.register_group(cfg.OptGroup(GROUP.name, title=GROUP.title))
    conf.register_opts(_OPTS, group=GROUP.name)


def runner_settings(conf: cfg.ConfigOpts) -> RunnerSettings:
    """Read the options of ``[mistral]``.

    :raises ConfigError: an option is invalid.
    """
    group = GROUP.name
    options = read_group(conf, group, _OPTS)
    api_url = options["api_url"]
    keys = checked_keys(group, options["context_key"])
    return RunnerSettings(
        mistral=mistral_settings(group, "v2_base_url", options, timeouts_of(options)),
        site=checked_site(group, options["site"]),
        api_url=checked_url(f"[{group}] api_url", api_url) if api_url else None,
        context_key=keys[0] if keys else None,
        result_layout=options["result_layout"],
        expression_functions=tuple(options["expression_functions"]),
    )


def credential(
    conf: cfg.ConfigOpts, settings: MistralSettings, make_token: Callable[[], str]
) -> MistralCredential:
    """Return the runner's credential for Mistral, from the options ``auth_type`` … in ``[mistral]``.

    :param make_token: returns a token of StackStorm for the user of the execution. It is called with
        ``auth_type = st2`` only.
    :return: ``Anonymous`` if ``auth_type`` is not set, or keystoneauth is needed and not installed.
    :raises ConfigError: keystoneauth rejects the options.
    """
    try:
        found = mistral_credential(conf, GROUP.name, settings, lambda: ExecutionToken(make_token()))
    except ImportError:
        # StackStorm does not install keystoneauth, and only a Mistral with keystone needs it.
        found = None
    return found or Anonymous(_NO_CREDENTIAL)
