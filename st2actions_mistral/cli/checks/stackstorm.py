"""Check StackStorm: the credential, its permissions, and the event stream."""

from __future__ import annotations

from datetime import datetime, timezone

from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.st2 import CLOCK_MARGIN, St2Client
from st2actions_mistral.client.stream import EventStream
from st2actions_mistral.errors import Answered


def credential(st2: St2Client) -> str:
    """Check that StackStorm accepts the credential."""
    return f"authenticated as {st2.whoami()}"


def permissions(st2: St2Client, site: str) -> str:
    """Check that the user may do what the relay and the workflows need."""
    missing = []
    if not _may_list(st2, site):
        missing.append(
            "The user may not list executions, so that the relay finds no result. Use the key of an"
            " admin, or give the user a role with execution_list and stream_view (permissions for no"
            " resource in particular)."
        )
    if not st2.may_run("core.noop"):
        missing.append(
            "The user may not run core.noop. Use the key of an admin, or give the user a role with"
            " action_view and action_execute on the packs whose actions workflows use."
        )
    if missing:
        raise CheckFailed(" ".join(missing))
    if st2.hides_executions():
        raise CheckFailed(
            "The user sees its own executions only ([rbac] permission_isolation), so that the relay"
            " would schedule actions a second time. Use an admin key."
        )
    return "may list executions and run core.noop"


def event_stream(settings: St2Settings) -> str:
    """Check that the event stream opens and stays open."""
    try:
        with EventStream(settings) as stream:
            ended = next(stream.events(), "ended") is not None
    except Answered as error:
        if error.status != 403:
            raise
        raise CheckFailed(
            "The user may not read the event stream, so that results arrive late. Use the key of an"
            " admin, or give the user a role with stream_view."
        ) from error
    if ended:
        raise CheckFailed(
            f"{settings.stream()} ends at once: is st2stream running? If it is elsewhere, set [st2]"
            " stream_url."
        )
    return settings.stream()


def _may_list(st2: St2Client, site: str) -> bool:
    # No execution is that new: the answer is empty.
    since = datetime.now(timezone.utc) + CLOCK_MARGIN
    try:
        next(st2.children_since(site, since), None)
    except Answered as error:
        if error.status == 403:
            return False
        raise
    return True
