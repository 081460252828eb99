from __future__ import annotations

import contextlib
from datetime import datetime, timezone

import pytest
from support.breaking_servers import BreakingServer, answer

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts

TIMEOUTS = Timeouts(connect_timeout=2, read_timeout=20)


@pytest.mark.parametrize(
    ("date", "hour"),
    [
        ("Thu, 01 Oct 2026 12:00:00 GMT", 12),
        ("Thu Oct  1 12:00:00 2026", 12),
        ("Mon, 99999999999 Jan 2020 00:00:00 GMT", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999", None),
        ("nonsense", None),
    ],
)
def test_clock_of_a_malformed_date_is_none(date: str, hour: int | None) -> None:
    with (
        BreakingServer(answer(200, {}, {"Date": date})) as server,
        contextlib.closing(MistralClient(MistralSettings(server.url, timeouts=TIMEOUTS))) as mistral,
    ):
        now = mistral.clock()
    assert now == (hour and datetime(2026, 10, 1, hour, tzinfo=timezone.utc))
