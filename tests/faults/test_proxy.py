"""The proxies break what they say they break."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import requests
from breaking import BreakingServer, answer
from proxy import FAULTS, Door, FaultProxy, Plan

BODY = {"id": "e1", "text": "x" * 500}


@pytest.fixture
def server() -> Iterator[BreakingServer]:
    with BreakingServer(answer(200, BODY)) as server:
        yield server


def test_without_faults_all_passes(server: BreakingServer) -> None:
    with FaultProxy(server.url, Plan(1, 0)) as proxy:
        for _ in range(3):
            assert requests.get(proxy.url, timeout=5).json() == BODY
    assert proxy.plan.passed == 3


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_breaks_and_is_counted(server: BreakingServer, fault: str) -> None:
    with FaultProxy(server.url, Plan(1, 1, (fault,))) as proxy:
        try:
            answered = requests.post(proxy.url, timeout=0.5)
            whole = answered.ok and answered.json() == BODY
        except (requests.RequestException, ValueError):
            whole = False
        assert whole == (fault == "trickle")
        assert proxy.plan.broken == {fault: 1}
    acted = 0 if fault.endswith("before") else 1
    assert len(server.requests) == acted


def test_a_seed_repeats_itself(server: BreakingServer) -> None:
    drawn = []
    for seed in (7, 7, 8):
        plan = Plan(seed, 0.5)
        with FaultProxy(server.url, Plan(0, 0)) as proxy:
            requests.get(proxy.url, timeout=5)
            drawn.append([plan.choose(proxy.requests[0]) for _ in range(50)])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_a_door_is_shut_and_opened(server: BreakingServer) -> None:
    with Door(server.port) as door:
        url = f"http://127.0.0.1:{door.port}"
        session = requests.Session()
        assert session.get(url, timeout=5).json() == BODY
        door.shut()
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=5)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", door.port)) != 0
        door.open()
        assert session.get(url, timeout=5).json() == BODY
        session.close()
