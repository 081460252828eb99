"""Write durations for readers."""

from __future__ import annotations

import datetime
import math
from typing import Any, Final

from jinja2 import pass_context

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.values import text

_START: Final = datetime.datetime(1, 1, 1)
_UNITS: Final = ("y", "d", "h", "m", "s")


@pass_context
def to_human_time_from_seconds(context: Any, seconds: Any) -> str:
    """Return a number of seconds in years, days, hours, minutes and seconds, such as 3h25m45s."""
    name = "to_human_time_from_seconds"
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InputError(name, f"needs a number of seconds, not {type(seconds).__name__}.")
    if isinstance(seconds, float) and not math.isfinite(seconds):
        raise InputError(name, f"needs a finite number of seconds, not {seconds}.")
    if seconds == 0:
        return "0s"
    if seconds < 1:
        # As StackStorm writes it.
        return f"{text(name, seconds)}\u03bcs"
    try:
        end = _START + datetime.timedelta(seconds=round(seconds))
    except OverflowError:
        raise InputError(name, "the time is longer than 9998 years.") from None
    parts = (end.year - 1, end.timetuple().tm_yday - 1, end.hour, end.minute, end.second)
    first = next(at for at, part in enumerate(parts) if part)
    return "".join(f"{part}{unit}" for part, unit in zip(parts[first:], _UNITS[first:]))
