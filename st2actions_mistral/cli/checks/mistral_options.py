"""Check the options of Mistral's own that decide whether the actions and their workflows work."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator, Sequence
from importlib import metadata
from typing import Any, Final
from urllib.parse import unquote_plus

from oslo_config import cfg
from packaging.version import Version

from st2actions_mistral.cli.checks.finding import CheckFailed, CheckWarning
from st2actions_mistral.cli.checks.host import ACTIONS
from st2actions_mistral.config.values import read_group

_PROVIDERS: Final = "action_providers"
_ACTIONS: Final = "legacy_action_provider"

# The entry points of Mistral's own provider, which loads the actions of the entry point group
# mistral.actions, and of the one of this package.
_PROVIDER: Final = "legacy"
_OWN_PROVIDER: Final = "st2"

_LISTS: Final = (cfg.ListOpt("allowlist", default=[]), cfg.ListOpt("denylist", default=[]))
_LOAD_ACTIONS: Final = cfg.BoolOpt("load_action_plugins", default=True)
_ONLY_BUILTIN: Final = cfg.BoolOpt("only_builtin_actions", default=False)

_DATABASE: Final = (
    cfg.StrOpt("connection", default="", secret=True),
    cfg.StrOpt("connection_parameters", default=""),
)

_SCHEDULER: Final = cfg.StrOpt("scheduler_type", default="legacy")
_INTEGRITY: Final = cfg.IntOpt("execution_integrity_check_delay", default=20)

# Versions of Mistral that leave the isolation level to the database, each with the first one that does
# not any more. The development versions are snapshots of the stable branches, by their source.
_DEFAULT_ISOLATION: Final = (
    (Version("20.1.1.dev2"), Version("20.1.1.dev12")),
    (Version("21.0.1.dev3"), Version("21.0.1.dev12")),
    (Version("22.0.0"), Version("22.0.1.dev11")),
)


def action_filter(conf: cfg.ConfigOpts) -> str:
    """Check that no option of Mistral hides the two actions."""
    for opts, group in (
        (_LISTS, _PROVIDERS),
        ((*_LISTS, _LOAD_ACTIONS, _ONLY_BUILTIN), _ACTIONS),
    ):
        conf.register_opts(opts, group=group)
    providers = read_group(conf, _PROVIDERS, _LISTS)
    actions = read_group(conf, _ACTIONS, (*_LISTS, _LOAD_ACTIONS, _ONLY_BUILTIN))
    problems = [*_hidden(_PROVIDERS, providers, [_PROVIDER]), *_hidden(_ACTIONS, actions, ACTIONS)]
    if not actions["load_action_plugins"]:
        problems.append(f"Set [{_ACTIONS}] load_action_plugins to true.")
    if actions["only_builtin_actions"]:
        problems.append(f"Set [{_ACTIONS}] only_builtin_actions to false.")
    if problems:
        raise CheckFailed(
            f"Mistral's options hide {' and '.join(ACTIONS)}. {' '.join(problems)} Then restart"
            " Mistral's API, engines and executors."
        )
    return f"[{_PROVIDERS}] and [{_ACTIONS}] hide neither action"


def provider_problems(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield what to correct in the options that hide StackStorm's actions."""
    conf.register_opts(_LISTS, group=_PROVIDERS)
    yield from _hidden(_PROVIDERS, read_group(conf, _PROVIDERS, _LISTS), [_OWN_PROVIDER])


def database(conf: cfg.ConfigOpts, version: str | None = None) -> str:
    """Check that several engines can share the database.

    :param version: of Mistral; None: the one that is installed here.
    """
    try:
        version = version or metadata.version("mistral")
    except metadata.PackageNotFoundError:
        return "unknown: Mistral is not installed beside this command"
    conf.register_opts(_DATABASE, group="database")
    options = read_group(conf, "database", _DATABASE)
    backend = re.split(r"[+:]", options["connection"] or "", maxsplit=1)[0]
    if backend not in ("mysql", "mariadb"):
        return f"Mistral {version} sets the isolation level, or has no MySQL"
    parameters = unquote_plus(f"{options['connection']}&{options['connection_parameters']}")
    installed = Version(version)
    affected = any(first <= installed < fixed for first, fixed in _DEFAULT_ISOLATION)
    if affected and not re.search(r"\bread[ _-]committed\b", parameters, re.IGNORECASE):
        raise CheckWarning(
            f"Mistral {version} leaves the isolation level to MySQL: with several engines, joins can"
            " stay RUNNING. Upgrade Mistral (23.0.0 and newer builds of its stable branches are"
            " correct), set transaction_isolation = READ-COMMITTED in the database server, or run one"
            " engine."
        )
    return f"Mistral {version} uses READ COMMITTED"


def scheduler(conf: cfg.ConfigOpts) -> str:
    """Check that a re-run of a task in a sub-workflow leaves the engine able to run joins.

    Mistral 20 to 23 then keep the job of an integrity check in memory, without its database session.
    Every later look for the job of a join fails on it, until the engine is restarted.
    """
    conf.register_opt(_SCHEDULER)
    conf.register_opt(_INTEGRITY, group="engine")
    kind = read_group(conf, "DEFAULT", [_SCHEDULER])[_SCHEDULER.name]
    delay = read_group(conf, "engine", [_INTEGRITY])[_INTEGRITY.name]
    if kind == "default" and delay >= 0:
        raise CheckWarning(
            "After a re-run of a task in a sub-workflow, joins stay RUNNING until the engine is"
            " restarted: Mistral's scheduler of the type default fails on the job of its integrity"
            " check. Set [DEFAULT] scheduler_type = legacy, which is Mistral's default, or [engine]"
            " execution_integrity_check_delay = -1."
        )
    return f"[DEFAULT] scheduler_type is {kind}"


def _hidden(group: str, options: dict[str, Any], names: Collection[str]) -> Iterator[str]:
    """Yield how to correct the lists of a group. Mistral ignores a denylist beside an allowlist."""
    allowed, denied = options["allowlist"], options["denylist"]
    missing = [name for name in names if not _matches(name, allowed)]
    if allowed and missing:
        yield f"Add {' and '.join(missing)} to [{group}] allowlist."
    listed = [name for name in names if _matches(name, denied)]
    if not allowed and listed:
        yield f"Let [{group}] denylist not match {' and '.join(listed)}."


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
