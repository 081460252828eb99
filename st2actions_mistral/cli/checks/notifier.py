"""Check the notifier: whether Mistral's options turn it on, and its trigger."""

from __future__ import annotations

import json
from typing import Any, Final, cast

from oslo_config import cfg

from st2actions_mistral.cli.checks.finding import CheckFailed, CheckWarning
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config.notifier import load_notifier_settings
from st2actions_mistral.config.values import read_group
from st2actions_mistral.model.notifications import ENDS, PAUSED, PUBLISHER, RESUMED, wants

# As Mistral registers them. A process that is none of Mistral's does not know them.
_MISTRALS: Final = (
    cfg.StrOpt("type", default="remote"),
    cfg.ListOpt("notify", item_type=cast("Any", json.loads), bounds=True, default=[]),
)

_NEEDED: Final = ENDS | {PAUSED, RESUMED}

_REMEDY: Final = f'notify = [{{"type": "{PUBLISHER}"}}]'


def notifier(conf: cfg.ConfigOpts, st2: St2Client) -> str:
    """Check that Mistral tells the notifier of all that it needs, and that its trigger exists."""
    settings = load_notifier_settings(conf)
    group = "notifier"
    conf.register_opts(_MISTRALS, group=group)
    options = read_group(conf, group, _MISTRALS)
    announced = {event for event in _NEEDED if _is_announced(options["notify"], event)}
    if settings.trigger is not None:
        _check_trigger(st2, settings.trigger)
    if not announced:
        if settings.trigger is not None:
            raise CheckWarning(
                f"[st2_notifier] trigger is set, but [{group}] notify does not name it on this"
                f" host. Set {_REMEDY} on the hosts of Mistral's engines."
            )
        return f"off: [{group}] notify does not name it on this host"
    missing = sorted(_NEEDED - announced)
    if missing:
        raise CheckWarning(
            f"[{group}] notify lacks the events {', '.join(missing)}: add them to event_types. Until"
            " then the relay finds what they tell."
        )
    where = "the engines" if options["type"] == "local" else "the processes of Mistral's notifier"
    return f"on, in {where}; trigger: {settings.trigger or 'none'}"


def _is_announced(entries: object, event: str) -> bool:
    return isinstance(entries, list) and any(wants(entry, event) for entry in entries)


def _check_trigger(st2: St2Client, trigger: str) -> None:
    if not st2.knows_trigger(trigger):
        raise CheckFailed(
            f"StackStorm does not know the trigger {trigger} ([st2_notifier] trigger). Register it with"
            " st2-register-content --register-triggers."
        )
    if not st2.may_dispatch():
        raise CheckFailed(
            f"The user may not create instances of {trigger}. Give it a role with webhook_send on"
            " webhook:st2."
        )
