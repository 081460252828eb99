"""Credentials: API keys, the tokens of runners, and a server without authentication."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests
from support.contract.client import Client, NewClient
from support.contract.external_runner import Extern
from support.contract.recordings import Fill, load
from support.contract.target import Target, of_stand_in

from st2_mistral_sandbox.stackstorm import RunRequest, RunResult, StackStorm

API_KEYS = load("apikeys")
RUNNER_TOKENS = load("runner_tokens")
WITHOUT_AUTH = load("without_auth")


@pytest.fixture
def client(new_client: NewClient, target: Target) -> Iterator[Client]:
    client = new_client(API_KEYS)
    before = {key["id"] for key in target.ask("GET", "/apikeys").json()}
    yield client
    for key in target.ask("GET", "/apikeys").json():
        if key["id"] not in before:
            target.ask("DELETE", f"/apikeys/{key['id']}")


@pytest.mark.recordings(
    "apikey_create",
    "apikey_use",
    "apikey_post_execution",
    "apikey_list",
    "apikey_get",
    "apikey_disable",
    "apikey_disabled_use",
    "apikey_delete",
    "apikey_deleted_use",
    "apikey_in_query",
    "apikey_create_for_user",
    "user_with_apikey",
    "apikey_create_with_apikey",
    "apikey_unknown_user",
)
def test_api_key_is_created_used_disabled_and_deleted(client: Client, target: Target) -> None:
    target.ran("core.noop")
    made = client.same("apikey_create").json()
    client.fill["{key}"] = made["key"]
    client.same("apikey_use", totals=False)
    client.same("apikey_post_execution")
    listed = client.send("apikey_list")
    assert listed.headers["X-Limit"] == "50"
    expected = client.recordings["apikey_list"]["response"]["body"][0]
    assert {"uid", "key_hash"} == {name for name in expected if expected[name] == "********"}
    assert all(key.keys() == expected.keys() for key in listed.json())
    assert all(key["key_hash"] == "********" for key in listed.json())
    client.same("apikey_get", made["id"])
    for name in (
        "user_with_apikey",
        "apikey_create_with_apikey",
        "apikey_unknown_user",
        "apikey_create_for_user",
    ):
        client.same(name)
    client.same("apikey_disable", made["id"])
    client.same("apikey_disabled_use")
    client.same("apikey_delete", made["id"])
    client.same("apikey_deleted_use")
    client.same("apikey_in_query")


def test_api_key_cannot_lose_its_user(target: Target) -> None:
    made = target.ask("POST", "/apikeys", {}).json()
    target.undo.append(lambda: target.ask("DELETE", f"/apikeys/{made['id']}"))
    response = target.ask("PUT", f"/apikeys/{made['id']}", {"enabled": False})
    reason = f"ValidationError (ApiKeyDB:{made['id']}) (Field is required: ['user'])"
    assert (response.status_code, response.json()) == (400, {"faultstring": reason})


@pytest.mark.needs("token")
def test_user_shows_where_the_credential_was(target: Target) -> None:
    url = target.url("/v1/user")
    for name, secret, method in (
        ("x-auth-token", target.token, "authentication token"),
        ("st2-api-key", target.key, "API key"),
    ):
        for location, response in (
            ("query", requests.get(url, params={name: secret}, timeout=30)),
            ("header", requests.get(url, headers={name: secret}, timeout=30)),
        ):
            found = response.json()["authentication"]
            assert (found["method"], found["location"]) == (method, location)


@pytest.mark.needs("password")
@pytest.mark.parametrize(
    ("ttl", "reason"),
    [
        ("x", "'x' is not of type 'integer', 'null'"),
        (1.5, "1.5 is not of type 'integer', 'null'"),
        (0, "0 is less than the minimum of 1"),
    ],
)
def test_lifetime_of_a_token_is_checked(target: Target, ttl: object, reason: str) -> None:
    response = requests.post(
        target.url("/auth/v1/tokens"),
        json={"ttl": ttl},
        auth=(target.user, target.password),
        timeout=30,
    )
    assert (response.status_code, response.json()) == (400, {"faultstring": reason})


@pytest.mark.needs("runner")
@pytest.mark.recordings(
    "runner_token_running_async",
    "runner_token_post_child",
    "runner_token_puts_own_result",
    "runner_token_after_final",
    "sync_runner_token_after_final",
    "async_token_after_cancel",
)
def test_token_of_a_runner_is_revoked_after_its_run(
    new_client: NewClient, target: Target, extern: Extern, st2: StackStorm
) -> None:
    client = new_client(RUNNER_TOKENS)
    execution = target.running("exttest.async_job")
    client.fill |= {
        "{runner-token}": extern.tokens[execution],
        "6b03c453746e698659600ac6": execution,
    }
    for name in (
        "runner_token_running_async",
        "runner_token_post_child",
        "runner_token_puts_own_result",
        "runner_token_after_final",
    ):
        client.same(name)

    seen: list[str] = []

    def run(request: RunRequest) -> RunResult:
        seen.append(request.auth_token)
        return RunResult("succeeded", {"ok": True})

    st2.register_runner("immediate", run)
    st2.register_action({"name": "immediate", "pack": "exttest", "runner_type": "immediate"})
    target.ran("exttest.immediate")
    target.wait_for(lambda: is_rejected(target, seen[0]))
    client.fill["{runner-token}"] = seen[0]
    client.same("sync_runner_token_after_final")

    execution = target.running("exttest.async_job")
    target.ask("DELETE", f"/executions/{execution}")
    target.wait(execution)
    client.fill["{runner-token}"] = extern.tokens[execution]
    client.same("async_token_after_cancel")


def is_rejected(target: Target, token: str) -> bool:
    return replace(target, token=token).ask("GET", "/user").status_code == 401


@pytest.mark.needs("stand-in")
@pytest.mark.recordings(
    "noauth_post", "noauth_user", "noauth_apikeys", "noauth_put", "noauth_token_ignored"
)
def test_server_without_authentication(new_client: NewClient, fill: Fill) -> None:
    with StackStorm(auth=False) as server:
        client = new_client(WITHOUT_AUTH)
        client.target = of_stand_in(server)
        client.fill['"root"'] = '"stanley"'
        execution = client.same("noauth_post").json()["id"]
        client.target.wait(execution)
        client.same("noauth_user")
        client.same("noauth_apikeys")
        client.same("noauth_put", execution)
        client.same("noauth_token_ignored", totals=False)
