"""A Mistral with authentication, and a small identity service that issues tokens."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.identity.v3 import Password
from pytest_httpserver import HTTPServer
from support.breaking_servers import BreakingServer, answer, refusing
from support.certificates import Certificates
from support.identity import Identity, json_response, keystone_options
from werkzeug import Request, Response

from st2_mistral_sandbox.process import ChildProcess
from st2actions_mistral import config
from st2actions_mistral.client.auth import KeystoneCredential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts, Tls
from st2actions_mistral.errors import Answered, ConfigError, NotSent
from st2actions_mistral.model.project import Scope

TIMEOUTS = Timeouts(1, 1, 1)


class Mistral:
    """A Mistral without records that accepts the newest token only."""

    def __init__(self, server: HTTPServer, identity: Identity) -> None:
        self.let_in = threading.Event()
        self._identity = identity
        for rows in ("tasks", "action_executions"):
            server.expect_request(f"/v2/{rows}").respond_with_handler(self._rows)

    def _rows(self, request: Request) -> Response:
        if request.headers.get("X-Auth-Token") not in self._identity.issued[-1:]:
            return json_response({"faultstring": "Unauthorized"}, 401)
        self.let_in.set()
        return json_response({request.path.rpartition("/")[2]: []})


@pytest.fixture
def identity(httpserver: HTTPServer) -> Identity:
    return Identity(httpserver)


@pytest.fixture(autouse=True)
def mistral(httpserver: HTTPServer, identity: Identity) -> Mistral:
    return Mistral(httpserver, identity)


def options(tmp_path: Path, auth_url: str, url: str, password: str = "right", more: str = "") -> Path:
    """Write a configuration file."""
    file = tmp_path / "mistral.conf"
    file.write_text(
        f"""
[st2]
retry_deadline = 1
{more}
[st2_relay]
mistral_url = {url}
{keystone_options(auth_url, password)}
"""
    )
    return file


def client(tmp_path: Path, auth_url: str, url: str, password: str = "right") -> MistralClient:
    file = options(tmp_path, auth_url, url, password)
    settings = config.load_settings(config.read_files([str(file)]))
    return MistralClient(MistralSettings(url=url, timeouts=TIMEOUTS), credential=settings.credential)


def test_credential_is_none_without_auth_type(tmp_path: Path) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text("[st2_relay]\n")
    assert config.load_settings(config.read_files([str(file)])).credential is None


def test_token_serves_many_requests(tmp_path: Path, identity: Identity, httpserver: HTTPServer) -> None:
    mistral = client(tmp_path, identity.url, httpserver.url_for("/v2"))
    assert mistral.tasks("w") == []
    assert mistral.tasks("w") == []
    assert identity.issued == ["token-1"]


def test_expiring_token_is_renewed(tmp_path: Path, identity: Identity, httpserver: HTTPServer) -> None:
    identity.lifetime = 10
    mistral = client(tmp_path, identity.url, httpserver.url_for("/v2"))
    assert mistral.tasks("w") == []
    assert mistral.tasks("w") == []
    assert len(identity.issued) >= 2


def test_token_that_mistral_rejects_is_renewed_once(
    tmp_path: Path, identity: Identity, httpserver: HTTPServer
) -> None:
    mistral = client(tmp_path, identity.url, httpserver.url_for("/v2"))
    assert mistral.tasks("w") == []
    identity.issued.append("revoked by keystone")
    assert mistral.tasks("w") == []
    assert identity.issued == ["token-1", "revoked by keystone", "token-2"]


def test_wrong_password_names_the_options(
    tmp_path: Path, identity: Identity, httpserver: HTTPServer
) -> None:
    mistral = client(tmp_path, identity.url, httpserver.url_for("/v2"), password="hush")
    with pytest.raises(Answered, match=r"401 .*\[st2_relay\]") as caught:
        mistral.tasks("w")
    assert "hush" not in repr(caught.value)


def test_unreachable_keystone_is_not_sent(tmp_path: Path, httpserver: HTTPServer) -> None:
    with refusing() as auth_url:
        mistral = client(tmp_path, f"{auth_url}/v3", httpserver.url_for("/v2"))
        with pytest.raises(NotSent, match="keystone"):
            mistral.tasks("w")


def test_keystone_ignores_proxies_and_netrc_of_the_environment(
    tmp_path: Path, identity: Identity, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login other password hush\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with BreakingServer(answer(200, {})) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        mistral = client(tmp_path, identity.url, httpserver.url_for("/v2"))
        assert mistral.tasks("w") == []
        assert proxy.connections == 0
    asked = [request for request, _ in httpserver.log]
    assert any(request.path.startswith("/identity/") for request in asked)
    assert not any("Authorization" in request.headers for request in asked)


def _credential(url: str, tls: Tls, hint: str = "") -> KeystoneCredential:
    plugin = Password(
        auth_url=f"{url}/v3", username="relay", password="right", user_domain_id="default"
    )
    return KeystoneCredential(plugin, tls, TIMEOUTS, hint)


def test_rejected_credential_has_the_given_hint() -> None:
    with BreakingServer(answer(401, {})) as server, pytest.raises(Answered) as caught:
        _credential(server.url, Tls(), "See the options.").headers()
    assert caught.value.hint == "See the options."


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_certificate_of_keystone_is_checked(tmp_path: Path) -> None:
    certificates = Certificates()
    cafile = certificates.cafile(tmp_path)
    with BreakingServer(answer(401, {}), tls=certificates.good) as server:
        for tls, kind in (
            (Tls(), NotSent),
            (Tls(cafile=cafile), Answered),
            (Tls(insecure=True), Answered),
        ):
            with pytest.raises(kind):
                _credential(server.url, tls).headers()


def _twice(credential: KeystoneCredential) -> None:
    # keystoneauth reads the time of expiry when it uses a token again.
    credential.headers()
    credential.headers()


@pytest.fixture
def no_finalizers() -> Iterator[None]:
    """Keep finalizers of earlier tests from running when the interpreter's stack is full."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


TOKEN = {"methods": ["password"], "user": {"id": "u"}, "expires_at": "2100-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "body",
    [
        {"token": {**TOKEN, "expires_at": "nonsense"}},
        {"token": {**TOKEN, "expires_at": "99999-01-01T00:00:00Z"}},
        {"token": {**TOKEN, "expires_at": 5}},
        {"token": {}},
        {"token": []},
        {"token": None},
        [],
        5,
        b"<html>",
        b"[" * 100_000,
    ],
)
@pytest.mark.usefixtures("no_finalizers")
def test_malformed_token_is_not_kept(body: Any) -> None:
    headers = {"X-Subject-Token": "t", "Content-Type": "application/json"}
    with BreakingServer(answer(201, body, headers)) as server:
        credential = _credential(server.url, Tls())
        with pytest.raises(NotSent):
            _twice(credential)
        asked = len(server.requests)
        with pytest.raises(NotSent):
            _twice(credential)
        assert len(server.requests) > asked, "the malformed token was kept"


def test_relay_authenticates_with_keystone(
    tmp_path: Path, identity: Identity, mistral: Mistral, httpserver: HTTPServer
) -> None:
    with refusing() as st2:
        file = options(tmp_path, identity.url, httpserver.url_for("/v2"), more=f"api_url = {st2}/v1")
        command = ["st2actions_mistral.cli.main", "relay", "--debug", "--config-file", str(file)]
        relay = ChildProcess("The relay", command, tmp_path / "relay.log")
        relay.start()
        try:
            assert mistral.let_in.wait(20), relay.tail()
        finally:
            relay.stop()
    log = "\n".join(relay.tail(10_000))
    assert "right" not in log
    assert "token-1" not in log


@pytest.mark.parametrize("project", ["service", None])
def test_scope_is_the_project_of_the_token(
    tmp_path: Path, identity: Identity, httpserver: HTTPServer, project: str | None
) -> None:
    identity.project = project
    client_ = client(tmp_path, identity.url, httpserver.url_for("/v2"))
    assert client_.scope() == Scope(project)
    assert client_.scope() == Scope(project)
    assert identity.issued == ["token-1"]


def test_scope_is_none_without_authentication(tmp_path: Path) -> None:
    file = tmp_path / "mistral.conf"
    for options_ in ("", "auth_type = none"):
        file.write_text(f"[st2_relay]\n{options_}\n")
        credential = config.load_settings(config.read_files([str(file)])).credential
        assert MistralClient(MistralSettings(), credential=credential).scope() is None


def test_scope_is_an_error_while_keystone_is_unreachable(tmp_path: Path) -> None:
    with refusing() as auth_url, pytest.raises(NotSent, match="keystone"):
        client(tmp_path, f"{auth_url}/v3", "http://localhost/v2").scope()


def test_unknown_auth_type_is_a_config_error(tmp_path: Path) -> None:
    file = tmp_path / "mistral.conf"
    file.write_text("[st2_relay]\nauth_type = nonsense\n")
    with pytest.raises(ConfigError, match=r"\[st2_relay\] auth_type.*nonsense"):
        config.load_settings(config.read_files([str(file)]))
