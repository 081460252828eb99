"""Check what needs both systems: their clocks, and that results reach Mistral."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Final

from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.cli.checks.mistral import pending_actions
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.projects import ProjectClients
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.model import states
from st2actions_mistral.model.records import ACTION_NAME, action_of, created_at

# Seconds that two clocks may differ. Nothing breaks (the relay allows for a day), but times in the two
# systems no longer tell what came first.
_CLOCKS_APART: Final = 60.0

# Seconds after which an undelivered result means that no relay runs: the event stream is immediate.
_UNDELIVERED_AFTER: Final = 10.0

# Seconds for the execution of the probe and its result.
_PROBE_TIMEOUT: Final = 30.0

_RELAY: Final = "Is 'st2-mistral relay' running? Look into its log."


def clocks(st2: St2Client, mistral: MistralClient) -> str:
    """Check that the clocks of both systems agree with this host's."""
    now = datetime.now(timezone.utc)
    for name, clock in (("StackStorm", st2.clock()), ("Mistral", mistral.clock())):
        apart = abs((clock - now).total_seconds()) if clock else 0
        if apart > _CLOCKS_APART:
            raise CheckFailed(
                f"{name}'s clock differs from this host's by {apart:.0f} s. Synchronize both with NTP."
            )
    return "StackStorm, Mistral and this host agree"


def undelivered_results(
    st2: St2Client,
    clients: ProjectClients,
    relay: RelaySettings,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Check that no result stays in StackStorm that a pending action needs.

    :param sleep: gives a relay the time to deliver a result.
    """
    pending = pending_actions(clients)
    if not pending:
        return "no pending actions; use --probe to test delivery"
    late = _with_final_execution(st2, pending, relay)
    if late:
        sleep(_UNDELIVERED_AFTER)
        late &= set(pending_actions(clients))
    if late:
        raise CheckFailed(
            f"{len(late)} results are in StackStorm and not in Mistral, for example that of action"
            f" execution {min(late)}. {_RELAY}"
        )
    return f"{len(pending)} actions pending, no undelivered results"


def probe(st2: St2Client, mistral: MistralClient, site: str) -> str:
    """Run core.noop in StackStorm as an action of Mistral, and wait for its result.

    :param st2: must be the StackStorm that has the execution.
    """
    begun = time.monotonic()
    action = mistral.run_action(ACTION_NAME, {"ref": "core.noop"})
    while action["state"] == states.RUNNING:
        if time.monotonic() - begun > _PROBE_TIMEOUT:
            raise CheckFailed(
                f"Action execution {action['id']} (core.noop) is still RUNNING after"
                f" {_PROBE_TIMEOUT:.0f} s. {_RELAY}"
            )
        time.sleep(0.2)
        action = mistral.get_action(action["id"]) or action
    if action["state"] != states.SUCCESS:
        raise CheckFailed(
            f"Action execution {action['id']} (core.noop) is {action['state']}:"
            f" {action.get('output')!s:.500}"
        )
    seconds = time.monotonic() - begun
    if not st2.find_children(action["id"], site):
        raise CheckFailed(
            f"Action execution {action['id']} (core.noop) is SUCCESS, but its execution is not in the"
            " StackStorm of this configuration. Mistral's executors use another one, or another site:"
            " set [st2] api_url and [st2] site to the same values in mistral.conf on all hosts."
        )
    return f"core.noop completed in {seconds:.1f} s"


def _with_final_execution(st2: St2Client, pending: dict[str, Any], relay: RelaySettings) -> set[str]:
    """Return the pending actions whose execution has ended."""
    since = min(map(created_at, pending.values()))
    ended = (
        action_of(child, relay.site, relay.context_keys)
        for child in st2.children_since(relay.site, since)
        if child["status"] in states.ST2_FINAL
    )
    return {action for action in ended if action in pending and action is not None}
