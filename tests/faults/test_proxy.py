"""The proxies break what they say they break."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.breaking_servers import BreakingServer, answer
from support.certificates import Certificates
from support.proxy import FAULTS, TLS_FAULTS, FaultProxy, Plan, TcpProxy

from st2actions_mistral.bridge.request import ExecutionRequest
from st2actions_mistral.bridge.schedule import schedule
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings, Timeouts, Tls
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import NotSent
from st2actions_mistral.model.context import MistralIds

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


def test_who_is_refused_is_refused_for_a_while(server: BreakingServer) -> None:
    broken = iter([True])
    plan = Plan(1, 1, ("refuse before",), only=lambda request: next(broken, False))
    with FaultProxy(server.url, plan) as proxy:
        with pytest.raises(requests.ConnectionError):
            requests.get(proxy.url, timeout=5)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", proxy.port)) == errno.ECONNREFUSED
        time.sleep(0.6)
        assert requests.get(proxy.url, timeout=5).json() == BODY
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("expired before", "certificate has expired"),
        ("another host before", "'127.0.0.1'"),
        ("another CA before", "unable to get local issuer certificate"),
        ("self-signed before", "self-signed certificate"),
    ],
)
def test_who_connects_is_shown_another_certificate_for_a_while(
    server: BreakingServer, tmp_path: Path, fault: str, words: str
) -> None:
    assert fault in TLS_FAULTS
    certificates = Certificates()
    broken = iter([True])
    plan = Plan(1, 1, (fault,), only=lambda request: next(broken, False))
    cafile = certificates.cafile(tmp_path)
    with FaultProxy(server.url, plan, certificates) as proxy:
        with pytest.raises(requests.ConnectionError):
            requests.get(proxy.url, timeout=5, verify=cafile)
        with pytest.raises(requests.exceptions.SSLError, match=words):
            requests.get(proxy.url, timeout=5, verify=cafile)
        time.sleep(0.6)
        assert requests.get(proxy.url, timeout=5, verify=cafile).json() == BODY
        assert plan.broken == {fault: 1}
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("shown", "hint"),
    [
        ("expired", "has expired: renew it"),
        ("of_another_host", "set the URL to that name"),
        ("of_another_ca", "set cafile to it"),
        ("self_signed", "set cafile to it"),
    ],
)
def test_a_client_of_ours_says_what_to_do_about_a_certificate_and_sends_nothing(
    server: BreakingServer, tmp_path: Path, shown: str, hint: str
) -> None:
    """In front of either system, and with a try to spare: no certificate gets better of itself."""
    certificates = Certificates()
    tls = Tls(certificates.cafile(tmp_path))
    with FaultProxy(server.url, Plan(1, 0), certificates) as proxy:
        proxy.show_certificate(getattr(certificates, shown))
        settings = St2Settings(f"{proxy.url}/v1", Credential(api_key="k"), tls=tls)
        child = ExecutionRequest("core.noop", {}, MistralIds("mistral", action_execution_id="a"))
        with (
            contextlib.closing(St2Client(settings)) as st2,
            pytest.raises(NotSent, match=hint) as caught,
        ):
            schedule(st2, child)
        assert caught.value.permanent
        with (
            contextlib.closing(MistralClient(MistralSettings(f"{proxy.url}/v2", tls=tls))) as mistral,
            pytest.raises(NotSent, match=hint),
        ):
            mistral.complete_action("a", "SUCCESS", {})
        assert proxy.requests == []
    assert server.requests == []


def test_a_client_of_ours_knows_that_nothing_was_sent_where_it_is_refused(
    server: BreakingServer,
) -> None:
    with FaultProxy(server.url, Plan(1, 0)) as proxy:
        proxy.refuse()
        settings = MistralSettings(f"{proxy.url}/v2", timeouts=Timeouts(2, 2, 0))
        with (
            contextlib.closing(MistralClient(settings)) as mistral,
            pytest.raises(NotSent, match="refused") as caught,
        ):
            mistral.complete_action("a", "SUCCESS", {})
        assert not caught.value.permanent
    assert server.requests == []


def test_a_seed_repeats_itself(server: BreakingServer) -> None:
    drawn = []
    for seed in (7, 7, 8):
        plan = Plan(seed, 0.5)
        with FaultProxy(server.url, Plan(0, 0)) as proxy:
            requests.get(proxy.url, timeout=5)
            drawn.append([plan.choose(proxy.requests[0]) for _ in range(50)])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_blocked_proxy_refuses_until_it_is_unblocked(server: BreakingServer) -> None:
    with TcpProxy(server.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        session = requests.Session()
        assert session.get(url, timeout=5).json() == BODY
        proxy.block()
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=5)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", proxy.port)) != 0
        proxy.unblock()
        assert session.get(url, timeout=5).json() == BODY
        session.close()
