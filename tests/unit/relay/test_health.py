"""Test what ``/health``, ``/failing`` and ``/metrics`` answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import pytest
import requests
from support.breaking_servers import BreakingServer, answer

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings
from st2actions_mistral.errors import ConfigError
from st2actions_mistral.relay.health import HealthServer
from st2actions_mistral.relay.metrics import Metrics
from st2actions_mistral.workqueue import Failure

Contacts = Mapping[str, Callable[[], float]]


def seconds_ago(**systems: float) -> Contacts:
    def contact(seconds: float) -> Callable[[], float]:
        return lambda: time.time() - seconds

    return {system: contact(seconds) for system, seconds in systems.items()}


def ask(path: str, contacts: Contacts, failing: Mapping[str, Failure] | None = None) -> Any:
    metrics = Metrics()
    metrics.observe(lambda: 7.0, contacts)
    with closing(HealthServer(0, metrics, contacts, 90, lambda: failing or {})) as health:
        return requests.get(f"{health.url}{path}", timeout=5)


def health(**systems: float) -> tuple[int, Any]:
    found = ask("/health", seconds_ago(**systems))
    return found.status_code, found.json()


def test_relay_that_reaches_one_system_is_healthy() -> None:
    assert health(stackstorm=1, mistral=89) == (200, {"stackstorm": True, "mistral": True})
    assert health(stackstorm=91, mistral=1) == (200, {"stackstorm": False, "mistral": True})
    assert health(stackstorm=1, mistral=91) == (200, {"stackstorm": True, "mistral": False})


def test_relay_that_reaches_no_system_any_more_is_not_healthy() -> None:
    assert health(stackstorm=91, mistral=91) == (503, {"stackstorm": False, "mistral": False})


@pytest.mark.parametrize("set_by", [-3600, 0, 3600])
@pytest.mark.parametrize(("passed", "status"), [(60, 200), (100, 503)])
def test_health_does_not_change_when_the_clock_is_set(
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
        assert ask("/health", {"mistral": mistral.last_contact}).status_code == status


def test_failing_shows_count_and_reason() -> None:
    found = ask("/failing", {}, {"a": Failure(3, "GET x: no", due=0)})
    assert found.json() == {"a": {"times": 3, "error": "GET x: no"}}


def test_metrics_have_their_documented_names() -> None:
    text = ask("/metrics", seconds_ago(mistral=1)).text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    counters = {
        "completed",
        "retries",
        "duplicates",
        "rescheduled",
        "lost",
        "cancelled",
        "finished",
        "stopped_workflows",
    }
    gauges = {
        "pending_actions",
        "pending_parents",
        "lag_seconds",
        "last_contact_timestamp_seconds",
    }
    assert {f"st2_relay_{name}_total" for name in counters} <= names
    assert {f"st2_relay_{name}" for name in gauges} <= names
    assert "st2_relay_lag_seconds 7.0" in text


def test_unknown_path_names_the_known_ones() -> None:
    found = ask("/", {})
    assert (found.status_code, found.text) == (404, "/health, /metrics or /failing\n")


def test_port_in_use_is_a_config_error() -> None:
    with closing(HealthServer(0, Metrics(), {}, 90, dict)) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"cannot listen on port {port}"):
            HealthServer(port, Metrics(), {}, 90, dict)
