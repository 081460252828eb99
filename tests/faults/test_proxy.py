"""The proxies for fault tests."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support.breaking_servers import BreakingServer, Request, answer
from support.certificates import Certificates
from support.proxy import FAULTS, TLS_FAULTS, FaultProxy, Plan, TcpProxy
from support.waiting import eventually

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


def test_proxy_without_faults_passes_all_requests(server: BreakingServer) -> None:
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


def once() -> Callable[[Request], bool]:
    """Select the first request only."""
    first = iter([True])
    return lambda request: next(first, False)


def responds(url: str, verify: str | bool = True) -> bool:
    try:
        return bool(requests.get(url, timeout=5, verify=verify).json() == BODY)
    except requests.ConnectionError:
        return False


def test_refusing_proxy_refuses_all_connections(server: BreakingServer) -> None:
    plan = Plan(1, 1, ("refuse before",), only=once())
    with FaultProxy(server.url, plan, lasting=60) as proxy:
        with pytest.raises(requests.ConnectionError):
            requests.get(proxy.url, timeout=5)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", proxy.port)) == errno.ECONNREFUSED
    assert server.requests == []


def test_refusing_proxy_responds_again_after_a_while(server: BreakingServer) -> None:
    plan = Plan(1, 1, ("refuse before",), only=once())
    with FaultProxy(server.url, plan, lasting=0.1) as proxy:
        with pytest.raises(requests.ConnectionError):
            requests.get(proxy.url, timeout=5)
        eventually(lambda: responds(proxy.url), "the proxy responds")
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
def test_proxy_shows_an_invalid_certificate(
    server: BreakingServer, tmp_path: Path, fault: str, words: str
) -> None:
    assert fault in TLS_FAULTS
    certificates = Certificates()
    cafile = certificates.cafile(tmp_path)
    plan = Plan(1, 1, (fault,), only=once())
    with FaultProxy(server.url, plan, certificates, lasting=60) as proxy:
        with pytest.raises(requests.ConnectionError):
            requests.get(proxy.url, timeout=5, verify=cafile)
        with pytest.raises(requests.exceptions.SSLError, match=words):
            requests.get(proxy.url, timeout=5, verify=cafile)
        assert plan.broken == {fault: 1}
    assert server.requests == []


def test_proxy_shows_the_valid_certificate_again_after_a_while(
    server: BreakingServer, tmp_path: Path
) -> None:
    certificates = Certificates()
    cafile = certificates.cafile(tmp_path)
    plan = Plan(1, 1, ("expired before",), only=once())
    with FaultProxy(server.url, plan, certificates, lasting=0.1) as proxy:
        with pytest.raises(requests.ConnectionError):
            requests.get(proxy.url, timeout=5, verify=cafile)
        eventually(lambda: responds(proxy.url, cafile), "the proxy responds")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("shown", "hint"),
    [
        ("expired", "has expired: renew it"),
        ("of_another_host", "set the URL to that name"),
        ("of_another_ca", "set the CA file to it"),
        ("self_signed", "set the CA file to it"),
    ],
)
def test_client_sends_nothing_to_an_invalid_certificate(
    server: BreakingServer, tmp_path: Path, shown: str, hint: str
) -> None:
    """It does not retry either, and the message says what to do."""
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


def test_client_reports_a_refused_connection_as_not_sent(
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


def test_same_seed_draws_the_same_faults(server: BreakingServer) -> None:
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
