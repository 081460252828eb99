"""Read and write timestamps as StackStorm does."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from st2_mistral_sandbox.stackstorm.fault import bad_request

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,6})?\s*(?:Z|[+-]00:?(?:00)?|UTC)?\Z")


def now() -> datetime:
    """Return the current time."""
    return datetime.now(timezone.utc)


def iso(moment: datetime) -> str:
    """Format a timestamp with microseconds, in UTC."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def milliseconds(moment: datetime) -> datetime:
    """Truncate a timestamp to milliseconds, as MongoDB does."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def parse(text: str) -> datetime:
    """Parse a timestamp.

    :raises Fault: 400, with StackStorm's message.
    """
    match = _ISO.match(text.strip())
    if match is None:
        raise bad_request("Datetime value does not match expected format.")
    day, clock, fraction = match.groups()
    try:
        return datetime.strptime(f"{day} {clock}{fraction or '.0'} +0000", "%Y-%m-%d %H:%M:%S.%f %z")
    except ValueError:
        raise bad_request("Datetime value does not match expected format.") from None
