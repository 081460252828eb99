"""Durations for readers."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.times import to_human_time_from_seconds

DAY = 24 * 60 * 60


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.0, "0s"),
        (0.5, "0.5\u03bcs"),
        (1, "1s"),
        (59.6, "1m0s"),
        (4587, "1h16m27s"),
        (12345, "3h25m45s"),
        (2 * DAY + 61, "2d0h1m1s"),
        (40 * DAY, "40d0h0m0s"),
        (365 * DAY, "1y0d0h0m0s"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert to_human_time_from_seconds({}, seconds) == shown


@given(st.integers(min_value=1, max_value=300 * DAY))
def test_no_second_is_lost_within_a_year(seconds: int) -> None:
    shown = to_human_time_from_seconds({}, seconds)
    factors = {"d": DAY, "h": 3600, "m": 60, "s": 1}
    total, digits = 0, ""
    for sign in shown:
        if sign in factors:
            total, digits = total + int(digits) * factors[sign], ""
        else:
            digits += sign
    assert datetime.timedelta(seconds=total) == datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("5", "a number of seconds, not str"),
        (None, "a number of seconds, not NoneType"),
        (True, "a number of seconds, not bool"),
        (float("nan"), "a finite number"),
        (float("inf"), "a finite number"),
        (10**12, "longer than 9998 years"),
        (10**400, "longer than 9998 years"),
        pytest.param(-(10**5000), "a number of more than 4200 digits", id="negative"),
    ],
)
def test_invalid_durations(value: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        to_human_time_from_seconds({}, value)
