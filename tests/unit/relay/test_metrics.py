"""Whether the relay is well, as it tells a balancer."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import requests
from support.breaking_servers import BreakingServer, answer

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings
from st2actions_mistral.relay.metrics import Health, Metrics


def told(**seconds_ago: float) -> tuple[int, Any]:
    """What is told where these systems answered so long ago."""

    def contact(seconds: float) -> Callable[[], float]:
        return lambda: time.time() - seconds

    return asked({system: contact(seconds) for system, seconds in seconds_ago.items()})


def asked(contacts: dict[str, Callable[[], float]]) -> tuple[int, Any]:
    with closing(Health(0, Metrics(), contacts, 90, dict)) as health:
        found = requests.get(f"{health.url}/health", timeout=5)
    return found.status_code, found.json()


def test_who_reaches_one_of_the_two_is_well() -> None:
    assert told(stackstorm=1, mistral=89) == (200, {"stackstorm": True, "mistral": True})
    assert told(stackstorm=91, mistral=1) == (200, {"stackstorm": False, "mistral": True})
    assert told(stackstorm=1, mistral=91) == (200, {"stackstorm": True, "mistral": False})


def test_who_has_reached_both_once_is_not_well_for_ever() -> None:
    assert told(stackstorm=91, mistral=91) == (503, {"stackstorm": False, "mistral": False})


@pytest.mark.parametrize("set_by", [-3600, 0, 3600])
@pytest.mark.parametrize(("passed", "status"), [(60, 200), (100, 503)])
def test_a_clock_that_is_set_makes_nobody_well_and_nobody_ill(
    monkeypatch: pytest.MonkeyPatch, set_by: float, passed: float, status: int
) -> None:
    now, since_boot = time.time, time.monotonic
    with (
        BreakingServer(answer(404)) as server,
        closing(MistralClient(MistralSettings(f"{server.url}/v2"))) as mistral,
    ):
        assert mistral.last_contact() == 0
        mistral.get_action("a")
    assert abs(now() - mistral.last_contact()) < 5
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now() + passed + set_by)
        patched.setattr(time, "monotonic", lambda: since_boot() + passed)
        assert asked({"mistral": mistral.last_contact})[0] == status
