"""The login of the command line ``mistral`` with a StackStorm credential."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from mistralclient.api import client as mistralclient
from mistralclient.api.base import APIException
from mistralclient.auth import get_auth_handler
from support.breaking_servers import BreakingServer, Request, answer, redirect

from st2actions_mistral.auth.client import St2AuthHandler
from st2actions_mistral.errors import ConfigError

CREDENTIALS = ("ST2_AUTH_TOKEN", "ST2_API_KEY", "OS_AUTH_TOKEN")
EMPTY = {"workbooks": []}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def sent_by(url: str, **given: Any) -> None:
    client = mistralclient.client(mistral_url=url, auth_type="st2", target_auth_url="st2", **given)
    client.workbooks.list()


def request_of(environment: dict[str, str], **given: Any) -> Request:
    """Return the request that mistralclient sends with this environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with BreakingServer(answer(200, EMPTY)) as server:
            sent_by(server.url, **given)
    (request,) = server.requests
    return request


def test_mistralclient_finds_the_plugin() -> None:
    assert isinstance(get_auth_handler("st2"), St2AuthHandler)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("environment_of", "header", "value"),
    [
        ({"ST2_AUTH_TOKEN": "t"}, "x-auth-token", "t"),
        ({"ST2_API_KEY": "k"}, "st2-api-key", "k"),
        ({"ST2_API_KEY": "k", "ST2_AUTH_TOKEN": ""}, "st2-api-key", "k"),
    ],
)
def test_credential_of_the_environment_is_sent(
    environment_of: dict[str, str], header: str, value: str
) -> None:
    request = request_of(environment_of)
    assert request.headers[header] == value
    assert ("x-auth-token" in request.headers) + ("st2-api-key" in request.headers) == 1


@pytest.mark.usefixtures("environment")
def test_token_of_mistralclient_counts_if_the_environment_has_none() -> None:
    assert request_of({}, auth_token="t").headers["x-auth-token"] == "t"
    request = request_of({"ST2_API_KEY": "k"}, auth_token="canary")
    assert "canary" not in repr(request.headers)


@pytest.mark.usefixtures("environment")
def test_nothing_of_an_openstack_user_is_sent() -> None:
    request = request_of(
        {"ST2_API_KEY": "k"},
        auth_token="canary",
        project_id="canary",
        user_id="canary",
        api_key="canary",
        target_auth_token="canary",
        target_project_id="canary",
        target_user_id="canary",
        target_service_catalog="canary",
    )
    assert "canary" not in repr(request.headers)
    assert not [name for name in request.headers if name.startswith("x-")]


def test_missing_credential_is_an_error_with_the_next_step(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"Set ST2_AUTH_TOKEN, as 'st2 auth USER -t' prints it, or"):
        sent_by("http://127.0.0.1:1")


def test_two_credentials_are_an_error(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ST2_AUTH_TOKEN", "canary-1")
    environment.setenv("ST2_API_KEY", "canary-2")
    with pytest.raises(ConfigError, match="ST2_AUTH_TOKEN and ST2_API_KEY are both set") as caught:
        sent_by("http://127.0.0.1:1")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("secret", ["canary\n", " canary", "'canary 1'", "canary\xe4"])
def test_invalid_credential_is_not_sent_nor_shown(environment: pytest.MonkeyPatch, secret: str) -> None:
    environment.setenv("ST2_API_KEY", secret)
    with pytest.raises(ConfigError, match=r"^ST2_API_KEY: .*Copy it again") as caught:
        sent_by("http://127.0.0.1:1")
    assert "canary" not in str(caught.value)


def test_credential_does_not_follow_a_redirect(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ST2_API_KEY", "canary")
    with (
        BreakingServer(answer(200, EMPTY)) as other,
        BreakingServer(redirect(other.url)) as server,
        pytest.raises(APIException),
    ):
        sent_by(server.url)
    assert other.requests == []


def test_given_session_gets_the_credential(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ST2_API_KEY", "k")
    with requests.Session() as session, BreakingServer(answer(200, EMPTY)) as server:
        sent_by(server.url, session=session)
    assert server.requests[0].headers["st2-api-key"] == "k"


def test_certificate_is_checked_with_the_given_ca(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ST2_API_KEY", "k")
    made = St2AuthHandler().authenticate({"cacert": "/ca.pem", "insecure": False})["session"]
    assert made.verify == "/ca.pem"
    assert St2AuthHandler().authenticate({"cacert": "", "insecure": ""})["session"].verify is True


def test_parameters_of_the_caller_stay_as_they_are(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ST2_API_KEY", "k")
    given = {"auth_token": "t", "cacert": None}
    before = copy.deepcopy(given)
    St2AuthHandler().authenticate(given)
    assert given == before


def run_shell(url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line ``mistral`` with these variables and no others of the kind."""
    environment = {"PATH": os.environ["PATH"], "OS_MISTRAL_URL": url, **variables}
    return subprocess.run(
        [Path(sys.prefix, "bin", "mistral"), "workbook-list"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


LOGIN = {"MISTRAL_AUTH_TYPE": "st2", "OS_TARGET_AUTH_URL": "st2"}


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({**LOGIN, "ST2_AUTH_TOKEN": "canary"}, "x-auth-token"),
        ({**LOGIN, "ST2_API_KEY": "canary"}, "st2-api-key"),
        # Without an URL: mistral knows that a token needs a plugin.
        ({"MISTRAL_AUTH_TYPE": "st2", "OS_AUTH_TOKEN": "canary"}, "x-auth-token"),
    ],
)
def test_command_line_logs_in(variables: dict[str, str], header: str) -> None:
    with BreakingServer(answer(200, EMPTY)) as server:
        done = run_shell(server.url, **variables)
    assert done.returncode == 0, done.stderr
    assert "Name" in done.stdout
    (request,) = server.requests
    assert request.headers[header] == "canary"
    assert not [name for name in request.headers if name.startswith("x-target")]
    assert "canary" not in done.stdout + done.stderr


def test_command_line_says_what_is_missing() -> None:
    done = run_shell("http://127.0.0.1:1", **LOGIN)
    assert done.returncode == 1
    assert "There is no StackStorm credential. Set ST2_AUTH_TOKEN" in done.stderr
