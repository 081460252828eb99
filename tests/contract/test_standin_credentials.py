"""Credentials with a history: API keys, the tokens of runners, and a server that asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
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
    "05_18", "05_19", "05_20", "05_21", "05_22", "05_23", "05_24", "05_25", "05_26", "05_27",
    "05_29", "05_30", "05_32", "05_33",
)  # fmt: skip
def test_the_life_of_an_api_key(client: Client, target: Target) -> None:
    target.ran("core.noop")
    made = client.same("05_18").json()
    client.fill["{key}"] = made["key"]
    client.same("05_19", totals=False)
    client.same("05_20")
    listed = client.send("05_21")
    assert listed.headers["X-Limit"] == "50"
    expected = client.recordings["05_21"]["response"]["body"][0]
    assert {"uid", "key_hash"} == {name for name in expected if expected[name] == "********"}
    assert all(key.keys() == expected.keys() for key in listed.json())
    assert all(key["key_hash"] == "********" for key in listed.json())
    client.same("05_22", made["id"])
    for name in ("05_30", "05_32", "05_33", "05_29"):
        client.same(name)
    client.same("05_23", made["id"])
    client.same("05_24")
    client.same("05_25", made["id"])
    client.same("05_26")
    client.same("05_27")


@pytest.mark.needs("runner")
@pytest.mark.recordings("13_01", "13_02", "13_03", "13_04", "13_05", "13_06")
def test_the_tokens_that_runners_get(
    new_client: NewClient, target: Target, extern: Extern, st2: StackStorm
) -> None:
    client = new_client(RUNNER_TOKENS)
    execution = target.running("exttest.async_job")
    client.fill |= {
        "{runner-token}": extern.tokens[execution],
        "6b03c453746e698659600ac6": execution,
    }
    for name in ("13_01", "13_02", "13_03", "13_04"):
        client.same(name)

    seen: list[str] = []

    def run(request: RunRequest) -> RunResult:
        seen.append(request.auth_token)
        return RunResult("succeeded", {"ok": True})

    st2.register_runner("at-once", run)
    st2.register_action({"name": "at_once", "pack": "exttest", "runner_type": "at-once"})
    target.ran("exttest.at_once")
    target.wait_for(lambda: client_is_refused(target, seen[0]))
    client.fill["{runner-token}"] = seen[0]
    client.same("13_05")

    execution = target.running("exttest.async_job")
    target.ask("DELETE", f"/executions/{execution}")
    target.wait(execution)
    client.fill["{runner-token}"] = extern.tokens[execution]
    client.same("13_06")


def client_is_refused(target: Target, token: str) -> bool:
    return replace(target, token=token).ask("GET", "/user").status_code == 401


@pytest.mark.needs("stand-in")
@pytest.mark.recordings("14_10", "14_11", "14_12", "14_13", "14_14")
def test_a_server_that_asks_nobody(new_client: NewClient, fill: Fill) -> None:
    with StackStorm(auth=False) as open_to_all:
        client = new_client(WITHOUT_AUTH)
        client.target = of_stand_in(open_to_all)
        client.fill['"root"'] = '"stanley"'
        execution = client.same("14_10").json()["id"]
        client.target.wait(execution)
        client.same("14_11")
        client.same("14_12")
        client.same("14_13", execution)
        client.same("14_14", totals=False)
