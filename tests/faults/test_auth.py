"""StackStorm is killed, slow or hostile while it authenticates the users of a real Mistral."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    answer,
    break_in_body,
    endless_line,
    garbage,
    hang_up,
    raw,
    redirect,
    reset,
    stall,
    stall_in_body,
)
from support.proxy import Switch
from support.waiting import eventually

from st2_mistral_sandbox.sandbox import Sandbox
from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.client.settings import Credential, St2Settings

# Seconds, of [st2_auth].
CACHE = 1.0
TIMEOUT = 1.0
PER_MINUTE = 600


class Guarded:
    """A Mistral behind a breakable StackStorm."""

    def __init__(self, sandbox: Sandbox, stackstorm: StackStorm, gate: BreakingServer, switch: Switch):
        self.sandbox, self.stackstorm, self.gate, self.switch = sandbox, stackstorm, gate, switch

    def status(self, headers: dict[str, str]) -> requests.Response:
        url = f"{self.sandbox.mistral_settings.url}/workflows?limit=1&fields=id"
        return requests.get(url, headers=headers, timeout=60)

    def new_user(self) -> dict[str, str]:
        return {"St2-Api-Key": self.stackstorm.create_api_key(user=f"u{secrets.token_hex(4)}")}

    def wait_until_it_works(self, headers: dict[str, str]) -> None:
        eventually(lambda: self.status(headers).status_code == 200, "the user is let in", 60)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("auth-faults")
    options = (
        f"[st2_auth]\ncache_seconds = {CACHE}\ntimeout = {TIMEOUT}\nchecks_per_minute = {PER_MINUTE}\n"
        "[DEFAULT]\ndebug = true"
    )
    with StackStorm() as stackstorm:
        switch = Switch(stackstorm.base_url)
        key = stackstorm.create_api_key()
        with BreakingServer(switch) as gate:
            settings = St2Settings(f"{gate.url}/api/v1", Credential(api_key=key))
            with Sandbox(folder, st2=settings, auth=True, relay=False, options=options) as sandbox:
                yield Guarded(sandbox, stackstorm, gate, switch)


@pytest.fixture(autouse=True)
def _working_again(guarded: Guarded) -> Iterator[None]:
    yield
    guarded.switch.behaviour = guarded.switch.passes
    guarded.wait_until_it_works(guarded.new_user())


def test_stackstorm_killed_is_503_and_comes_back(guarded: Guarded) -> None:
    known, unknown = guarded.new_user(), guarded.new_user()
    guarded.wait_until_it_works(known)
    guarded.gate.refuse(3)
    guarded.gate.drop()
    refused = guarded.status(unknown)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "1"
    assert "try again" in refused.json()["faultstring"]
    # The known user works until the cache ends, then gets 503 too, and never 401.
    seen = {guarded.status(known).status_code for _ in range(20)}
    assert seen <= {200, 503}
    eventually(lambda: guarded.status(known).status_code == 503, "the cache ends", 60)
    guarded.wait_until_it_works(unknown)
    guarded.wait_until_it_works(known)


HOSTILE: dict[str, Behaviour] = {
    "wrong service": answer(200, b"<html>It works!</html>"),
    "valid, but nobody": answer(200, {"valid": True}),
    "an administrator": answer(
        200, {"username": "root", "rbac": {"enabled": True, "roles": ["admin"]}}
    ),
    "no content": answer(204, b""),
    "redirect": redirect("http://127.0.0.1:1/"),
    "403": answer(403, {"faultstring": "no"}),
    "404": answer(404, {"faultstring": "no"}),
    "429": answer(429, {"faultstring": "no"}, {"Retry-After": "100"}),
    "500": answer(500, {"faultstring": "no"}),
    "502": answer(502, b"<html>Bad Gateway</html>"),
    "reset": reset(),
    "hang up": hang_up(),
    "garbage": garbage(),
    "half a body": break_in_body(),
    "endless header": endless_line(),
    "endless body": endless_line(b"HTTP/1.1 200 OK\r\n\r\n"),
    "silence": stall(),
    "silent body": stall_in_body(),
    "one byte at a time": raw(
        *[bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 100], every=0.1
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answer_lets_nobody_in_and_holds_nobody(guarded: Guarded, name: str) -> None:
    known, unknown = guarded.new_user(), guarded.new_user()
    guarded.wait_until_it_works(known)
    guarded.switch.behaviour = HOSTILE[name]
    begun = time.monotonic()
    assert guarded.status(unknown).status_code == 503
    # A busy machine may take a while for the request itself.
    assert time.monotonic() - begun < TIMEOUT + 10


def test_many_requests_during_an_outage_are_answered_at_once(guarded: Guarded) -> None:
    users = [guarded.new_user() for _ in range(40)]
    guarded.switch.behaviour = stall()
    begun = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        statuses = [response.status_code for response in pool.map(guarded.status, users)]
    assert set(statuses) == {503}
    # One after the other they would take 40 s.
    assert time.monotonic() - begun < 30


def test_guessing_reaches_stackstorm_at_a_limited_rate(guarded: Guarded) -> None:
    known = guarded.new_user()
    guarded.wait_until_it_works(known)
    before, begun = len(guarded.gate.requests), time.monotonic()
    guesses = [{"X-Auth-Token": secrets.token_hex(16)} for _ in range(300)]
    with ThreadPoolExecutor(8) as pool:
        statuses = [response.status_code for response in pool.map(guarded.status, guesses)]
    took = time.monotonic() - begun
    asked = len(guarded.gate.requests) - before
    assert set(statuses) <= {401, 429, 503}
    assert 429 in statuses
    # A burst of ten seconds, and the rate.
    assert asked <= (10 + took) * PER_MINUTE / 60 + 1
    # Who works already can go on.
    assert guarded.status(known).status_code == 200


def test_no_credential_is_in_a_log_or_in_the_environment(guarded: Guarded) -> None:
    canaries = [secrets.token_hex(16) for _ in range(6)]
    for canary, behaviour in zip(
        canaries,
        (guarded.switch.passes, answer(500, b""), stall(), garbage(), hang_up(), reset()),
        strict=True,
    ):
        guarded.switch.behaviour = behaviour
        for header in ("X-Auth-Token", "St2-Api-Key"):
            guarded.status({header: canary})
    folder: Path = guarded.sandbox.folder
    logged = (folder / "mistral.log").read_bytes()
    assert b"StackStorm cannot check credentials" in logged
    assert [canary for canary in canaries if canary.encode() in logged] == []
    assert [canary for canary in canaries if canary in repr(os.environ)] == []
