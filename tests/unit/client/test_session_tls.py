"""TLS: which certificates are accepted, and which failures are NotSent."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import urllib3
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    answer,
    before_request,
    break_in_body,
    hang_up,
    raw,
    reset,
    stall,
    stall_in_body,
)
from support.certificates import Certificates

from st2actions_mistral.client.session import json_body, new_session, send
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.errors import NotSent, OutcomeUnknown

FAST = Timeouts(connect_timeout=0.3, read_timeout=0.3)
RETRYING = Timeouts(connect_timeout=5, read_timeout=5)
HEADERS = {"St2-Api-Key": "hush-key", "X-Auth-Token": "hush-token"}


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest.fixture(scope="module")
def cafile(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> str:
    return certificates.cafile(tmp_path_factory.mktemp("tls"))


def get(url: str, timeouts: Timeouts = RETRYING, **tls: Any) -> Any:
    with contextlib.closing(new_session(Tls(**tls))) as session:
        return json_body(send(session, "GET", url, timeouts, headers=HEADERS), "GET", "http://x")


def test_certificate_of_a_known_ca_is_accepted(certificates: Certificates, cafile: str) -> None:
    with BreakingServer(answer(200, {"a": 1}), tls=certificates.good) as server:
        assert get(server.url, cafile=cafile) == {"a": 1}


def test_insecure_accepts_any_certificate(certificates: Certificates) -> None:
    with (
        BreakingServer(answer(200, {"a": 1}), tls=certificates.of_another_host) as server,
        pytest.warns(urllib3.exceptions.InsecureRequestWarning),
    ):
        assert get(server.url, insecure=True) == {"a": 1}


def test_warning_about_insecure_is_logged_once_per_process_and_option() -> None:
    script = """
import logging
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import Tls

logging.basicConfig()
for _ in range(3):
    new_session(Tls(insecure=True, ca_option="[x] ca"))
    new_session(Tls(insecure=True, ca_option="[y] ca"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.count("Certificates are not checked") == 2
    for option in ("[x] ca", "[y] ca"):
        assert done.stderr.count(f"Set {option} to the server's CA") == 1


@pytest.mark.parametrize(
    ("shown", "advice"),
    [
        ("of_another_ca", r"set \[x\] ca to it"),
        ("of_another_host", "set the URL to that name"),
        ("expired", "has expired: renew it"),
    ],
)
def test_untrusted_certificate_is_not_sent(
    certificates: Certificates, cafile: str, shown: str, advice: str
) -> None:
    with BreakingServer(answer(200, {}), tls=getattr(certificates, shown)) as server:
        with pytest.raises(NotSent, match=advice) as caught:
            get(server.url, cafile=cafile, ca_option="[x] ca")
        assert caught.value.permanent
        assert server.requests == []


def test_ca_bundles_of_the_environment_are_ignored(
    certificates: Certificates, cafile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", cafile)
    monkeypatch.setenv("CURL_CA_BUNDLE", cafile)
    with BreakingServer(answer(200, {}), tls=certificates.good) as server:
        with pytest.raises(NotSent):
            get(server.url)
        assert server.requests == []


def test_https_to_a_port_that_speaks_http_is_not_sent() -> None:
    plain = raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", then=hang_up())
    with BreakingServer(before_request(plain)) as server:
        with pytest.raises(NotSent) as caught:
            get(server.url.replace("http:", "https:"))
        assert caught.value.permanent


def _after_hello(then: Behaviour) -> Behaviour:
    def act(exchange: Exchange) -> bool:
        exchange.sock.recv(65536)
        return then(exchange)

    return act


@pytest.mark.parametrize("behaviour", [hang_up(), _after_hello(reset()), stall()])
def test_broken_handshake_is_not_sent_and_retryable(behaviour: Behaviour) -> None:
    with BreakingServer(before_request(behaviour)) as server:
        with pytest.raises(NotSent) as caught:
            get(server.url.replace("http:", "https:"), FAST)
        assert not caught.value.permanent


def test_http_to_a_port_that_speaks_https_is_unknown(certificates: Certificates) -> None:
    with (
        BreakingServer(answer(200, {}), tls=certificates.good) as server,
        pytest.raises(OutcomeUnknown),
    ):
        get(server.url.replace("https:", "http:"))


def _unencrypted(exchange: Exchange) -> bool:
    # Bypass the TLS layer.
    os.write(exchange.sock.fileno(), b"this is no record of TLS")
    return False


@pytest.mark.parametrize(
    "behaviour",
    [
        _unencrypted,
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", then=_unencrypted),
        reset(),
        hang_up(),
        stall(),
        stall_in_body(),
        break_in_body(),
    ],
)
def test_tls_that_breaks_after_the_handshake_is_unknown(
    certificates: Certificates, cafile: str, behaviour: Behaviour
) -> None:
    with BreakingServer(behaviour, tls=certificates.good) as server:
        with pytest.raises(OutcomeUnknown):
            get(server.url, FAST, cafile=cafile)
        assert len(server.requests) == 1


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_invalid_cafile_is_not_sent(
    tmp_path: Path, certificates: Certificates, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with BreakingServer(answer(200, {}), tls=certificates.good) as server:
        with pytest.raises(NotSent) as caught:
            get(server.url, cafile=str(path))
        assert caught.value.permanent
        assert server.requests == []
