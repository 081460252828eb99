"""What ``st2-mistral check`` looks at. Each check tells what it saw, or what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Final

from oslo_config import cfg
from stevedore import NamedExtensionManager

from st2actions_mistral import config
from st2actions_mistral.cli import check_rights
from st2actions_mistral.cli.clients import needs_credential, needs_mistral
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import without_retries
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.client.stream import EventStream
from st2actions_mistral.errors import ConfigError, SandboxError, St2MistralError
from st2actions_mistral.model import states
from st2actions_mistral.model.project import REMEDY, foreign
from st2actions_mistral.relay import reconcile

OK: Final = "ok"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"

ACTIONS: Final = ("st2.action", "st2.callback")

_INSTALL: Final = (
    "Install the package into Mistral's virtualenv (/path/to/mistral/bin/pip install '.[relay]' in the"
    " checkout), and run this command from there."
)

# Seconds that two clocks may differ. Nothing breaks by it (the relay allows for a day), but times in
# the two systems no longer tell what came first.
_CLOCKS_APART: Final = 60.0

# Seconds after which a result that waits means that nobody brings it: the stream is immediate, a
# sweep comes every resync_interval.
_RESULT_WAITS: Final = 10.0

# Seconds for the probe's way there and back.
_PROBE_TAKES: Final = 30.0


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    result: str
    """``ok``, ``failed`` or ``skipped``."""
    detail: str
    """What was seen; where it failed, what to do about it."""

    def as_dict(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


class Checks:
    """Looks at an installation from the host that it runs on.

    :param conf: a configuration, see ``config.read_files``.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    @cached_property
    def _settings(self) -> config.Settings:
        return config.load_settings(self._conf)

    def run(self, *, probe: bool = False) -> Iterator[Finding]:
        """All checks, one after the other.

        :param probe: also run ``core.noop`` through both systems and the relay.
        """
        yield self._finding("entry points", self._entry_points)
        options = self._finding("options", self._options)
        yield options
        if options.result != OK:
            return
        st2 = self._finding("StackStorm", self._stackstorm)
        yield st2
        for check, look in (
            ("StackStorm's permission", self._permission),
            ("StackStorm's stream", self._stream),
        ):
            yield self._finding(check, look) if st2.result == OK else _skipped(check, "StackStorm")
        mistral = self._finding("Mistral", self._mistral_api)
        yield mistral
        known = mistral.result == OK
        yield self._finding("project", self._project) if known else _skipped("project", "Mistral")
        yield self._finding("sizes", self._sizes)
        for check, look in (("clocks", self._clocks), ("relay", self._relay)):
            both = st2.result == mistral.result == OK
            yield self._finding(check, look) if both else _skipped(check, "both systems")
        if probe:
            yield self._finding("probe", self._probe)

    def _finding(self, check: str, look: Callable[[], str]) -> Finding:
        try:
            return Finding(check, OK, look())
        except St2MistralError as error:
            return Finding(check, FAILED, str(error))

    def _entry_points(self) -> str:
        broken: dict[str, str] = {}

        def failed(manager: Any, entry_point: Any, error: BaseException) -> None:
            broken[entry_point.name] = f"{type(error).__name__}: {error}"

        # Only ours: loading Mistral's own outside of it ends in a circular import.
        found = NamedExtensionManager(
            "mistral.actions",
            ACTIONS,
            on_load_failure_callback=failed,
            warn_on_missing_entrypoint=False,
        )
        for name in ACTIONS:
            if name in broken:
                raise ConfigError(f"{name} cannot be loaded ({broken[name]}). {_INSTALL}")
            if name not in found.names():
                raise ConfigError(f"{name} is not installed here. {_INSTALL}")
        return f"{' and '.join(ACTIONS)} can be loaded"

    def _options(self) -> str:
        settings = self._settings
        needs_credential(settings.st2)
        return f"site {settings.bridge.site}, StackStorm {settings.st2.api_url}"

    def _stackstorm(self) -> str:
        return f"we are {self._st2().whoami()}"

    def _permission(self) -> str:
        st2 = self._st2()
        lacking = []
        if not check_rights.may_list(st2, self._settings.bridge.site):
            lacking.append(
                "may not list executions, so that the relay finds no result. Give the user a role with"
                " the permission execution_list, which is for no resource in particular."
            )
        if not st2.may_run("core.noop"):
            lacking.append(
                "may not run core.noop. Give the user a role with action_execute for the actions that"
                " workflows use."
            )
        if lacking:
            raise ConfigError(" ".join(lacking))
        if check_rights.executions_are_hidden(without_retries(self._settings.st2)):
            raise ConfigError(
                "sees its own executions only ([rbac] permission_isolation), so that the relay would"
                " make children a second time. Take a key of an admin."
            )
        return "may list executions and run core.noop"

    def _stream(self) -> str:
        settings = without_retries(self._settings.st2)
        with EventStream(settings) as stream:
            if next(stream.events(), "ended") is not None:
                raise ConfigError(
                    f"{settings.stream()} ends at once: does st2stream run? If it is elsewhere, set"
                    " [st2] stream_url."
                )
        return settings.stream()

    def _mistral_api(self) -> str:
        mistral = self._mistral()
        for name in ACTIONS:
            if not mistral.knows_action(name):
                needs_mistral(
                    without_retries(self._settings.mistral),
                    self._settings.credential,
                )
                raise ConfigError(
                    f"Mistral has no action {name}: install the package on the hosts of API, engines,"
                    " executors, and restart them; see also [legacy_action_provider] in mistral.conf."
                )
        return f"knows {' and '.join(ACTIONS)}"

    def _project(self) -> str:
        mistral = self._mistral()
        scope = mistral.scope()
        if scope is None:
            return "Mistral has no authentication"
        if scope.project_id is None:
            raise ConfigError(
                "the token of [st2_relay] has no project, so that the relay completes nothing: set"
                f" project_name or project_id. {REMEDY}"
            )
        others = [
            other
            for action in mistral.running_actions()
            if action["name"] == reconcile.ACTION_NAME and (other := foreign(action, scope))
        ]
        if others:
            raise ConfigError(
                f"{len(others)} pending actions are not completed. One of them: {others[0].reason}."
                f" {REMEDY}"
            )
        return f"the relay completes actions of project {scope.project_id} only"

    def _sizes(self) -> str:
        ours = self._settings.relay.field_size_limit_kb
        engine = cfg.IntOpt("execution_field_size_limit_kb", default=1024)
        self._conf.register_opt(engine, group="engine")
        theirs: int = self._conf.engine.execution_field_size_limit_kb
        if theirs >= 0 and not 0 <= ours <= theirs:
            raise ConfigError(
                f"[st2_relay] field_size_limit_kb is {ours}, [engine] execution_field_size_limit_kb is"
                f" {theirs}: a result between the two would fail its whole workflow. Set both alike."
            )
        return f"results up to {ours} KiB"

    def _clocks(self) -> str:
        now = datetime.now(timezone.utc)
        for name, clock in (
            ("StackStorm", self._st2().clock()),
            ("Mistral", self._mistral().clock()),
        ):
            apart = abs((clock - now).total_seconds()) if clock else 0
            if apart > _CLOCKS_APART:
                raise ConfigError(f"{name}'s clock is {apart:.0f} s from ours: let NTP set both.")
        return "agree"

    def _relay(self) -> str:
        mistral, st2 = self._mistral(), self._st2()
        waiting = self._waiting(mistral)
        if not waiting:
            return "no action waits, so this tells nothing of it; --probe does"
        late = self._final(st2, waiting)
        if late:
            time.sleep(_RESULT_WAITS)
            late &= set(self._waiting(mistral))
        if late:
            raise ConfigError(
                f"{len(late)} results are in StackStorm and not in Mistral, for instance of action"
                f" execution {min(late)}. Does 'st2-mistral relay' run, and what does it log?"
            )
        return f"{len(waiting)} actions wait for StackStorm, none for a relay"

    def _waiting(self, mistral: MistralClient) -> dict[str, Any]:
        scope = mistral.scope()
        return {
            action["id"]: action
            for action in mistral.running_actions()
            if action["name"] == reconcile.ACTION_NAME and foreign(action, scope) is None
        }

    def _final(self, st2: St2Client, waiting: dict[str, Any]) -> set[str]:
        site = self._settings.bridge.site
        return {
            action
            for child in st2.children_since(site, reconcile.oldest(waiting.values()))
            if child["status"] in states.ST2_FINAL
            and (action := reconcile.action_of(child, site)) in waiting
            and action is not None
        }

    def _probe(self) -> str:
        mistral = self._mistral()
        begun = time.monotonic()
        action = mistral.run_action("st2.action", {"ref": "core.noop"})
        while action["state"] == states.RUNNING:
            if time.monotonic() - begun > _PROBE_TAKES:
                raise SandboxError(
                    f"action execution {action['id']} (core.noop) is still RUNNING after"
                    f" {_PROBE_TAKES:.0f} s. Does 'st2-mistral relay' run, and what does it log?"
                )
            time.sleep(0.2)
            action = mistral.get_action(action["id"]) or action
        if action["state"] != states.SUCCESS:
            raise SandboxError(
                f"action execution {action['id']} (core.noop) is {action['state']}:"
                f" {action.get('output')!s:.500}"
            )
        return f"core.noop came home after {time.monotonic() - begun:.1f} s"

    def _st2(self) -> St2Client:
        return St2Client(without_retries(self._settings.st2))

    def _mistral(self) -> MistralClient:
        settings = without_retries(self._settings.mistral)
        return MistralClient(settings, credential=self._settings.credential)


def _skipped(check: str, needed: str) -> Finding:
    return Finding(check, SKIPPED, f"needs {needed}")
