"""Dates in HTTP headers."""

from __future__ import annotations

import email.utils
from datetime import datetime, timezone


def read(header: str | None) -> datetime | None:
    """A date in any of HTTP's forms, with its zone; None for anything else."""
    if not header:
        return None
    try:
        date = email.utils.parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        # OverflowError: the year 99999999999, say, or that many hours from GMT.
        return None
    # HTTP's dates are in GMT, also in the old form that does not say so.
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)
