"""Check this host: the installed entry points, and the options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oslo_config import cfg
from stevedore import NamedExtensionManager

from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.cli.clients import require_credential
from st2actions_mistral.config import Settings, load_settings

ACTIONS: Final = ("st2.action", "st2.callback")

_INSTALL: Final = (
    "Install the package into Mistral's virtualenv (/path/to/mistral/bin/pip install '.[relay]' in the"
    " checkout), and run this command from there."
)


def entry_points(load: Callable[..., Any] = NamedExtensionManager) -> str:
    """Check that both actions can be loaded here.

    :param load: as ``stevedore.NamedExtensionManager``.
    """
    broken: dict[str, str] = {}

    def failed(manager: Any, entry_point: Any, error: BaseException) -> None:
        broken[entry_point.name] = f"{type(error).__name__}: {error}"

    # Only these two: loading Mistral's own actions outside of Mistral ends in a circular import.
    found = load(
        "mistral.actions",
        ACTIONS,
        on_load_failure_callback=failed,
        on_missing_entrypoints_callback=lambda missing: None,
    )
    for name in ACTIONS:
        if name in broken:
            raise CheckFailed(f"{name} cannot be loaded ({broken[name]}). {_INSTALL}")
        if name not in found.names():
            raise CheckFailed(f"{name} is not installed here. {_INSTALL}")
    return f"{' and '.join(ACTIONS)} can be loaded"


def options(conf: cfg.ConfigOpts) -> str:
    """Check that the options are valid, and that there is a credential for StackStorm."""
    settings = load_settings(conf)
    require_credential(settings.st2)
    return f"site {settings.bridge.site}, StackStorm {settings.st2.api_url}"


def size_limit(conf: cfg.ConfigOpts, settings: Settings) -> str:
    """Check that the relay truncates results before they are too large for Mistral."""
    relay = settings.relay.field_size_limit_kb
    engine = cfg.IntOpt("execution_field_size_limit_kb", default=1024)
    conf.register_opt(engine, group="engine")
    mistral: int = conf.engine.execution_field_size_limit_kb
    if mistral >= 0 and not 0 <= relay <= mistral:
        raise CheckFailed(
            f"[st2_relay] field_size_limit_kb is {relay}, [engine] execution_field_size_limit_kb is"
            f" {mistral}: a result between the two would fail its whole workflow. Set both to the same"
            " value."
        )
    return f"results up to {relay} KiB are not truncated"
