"""The event stream, read from the socket as a client would."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from support.contract.client import Client, NewClient
from support.contract.recordings import assert_cookie, assert_like, load
from support.contract.target import Target

from st2_mistral_sandbox.stackstorm import StackStorm

RECORDINGS = load("stream")
MISTRAL = {
    "mistral": {
        "workflow_execution_id": "w1",
        "task_execution_id": "t1",
        "action_execution_id": "a1",
        "workflow_name": "wf",
    }
}
Frame = tuple[str, dict[str, Any]]


@pytest.fixture
def client(new_client: NewClient) -> Client:
    return new_client(RECORDINGS)


@contextmanager
def listening(target: Target, path: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    with requests.get(target.url(path), headers=headers, stream=True, timeout=30) as response:
        yield response


@contextmanager
def opened(client: Client, name: str) -> Iterator[requests.Response]:
    """The stream of a recording, opened as it was then, with the same head."""
    client.replayed.add(name)
    recording = client.expected(name)
    request, told = recording["request"], recording["response"]["headers"]
    headers = {k: v for k, v in request["headers"].items() if k != "X-Auth-Token"}
    if "X-Auth-Token" in request["headers"]:
        headers |= client.target.headers
    with listening(client.target, request["path"], headers) as response:
        assert response.status_code == recording["response"]["status"]
        for header in ("Content-Type", "Cache-Control"):
            assert response.headers.get(header) == told.get(header)
        if client.target.stand_in and name != "06_13":
            # A proxy in front of a server takes these away, as StackStorm's own does.
            for header in ("X-Accel-Buffering", "Transfer-Encoding"):
                assert response.headers.get(header) == told.get(header)
        assert_cookie(client.target, response, recording)
        yield response


def frames(response: requests.Response, count: int, *ids: str) -> list[Frame]:
    """The next frames, of certain executions and live actions if some are given."""
    found: list[Frame] = []
    name = ""
    for line in response.iter_lines(chunk_size=1):
        text = line.decode()
        assert not text.startswith("id:")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            body = json.loads(text.removeprefix("data: "))
            if not ids or {body["id"], body.get("execution_id")} & {*ids}:
                found.append((name, body))
            if len(found) == count:
                break
    return found


def told(client: Client, name: str, response: requests.Response, *posted: dict[str, Any]) -> None:
    """Expect the frames of the recording, for every execution in order."""
    recorded = client.expected(name)["response"]["frames"]
    ids = [which for one in posted for which in (one["id"], one["liveaction"]["id"])]
    seen = frames(response, len(recorded), *ids)
    actual, expected = _by_execution(seen), _by_execution(recorded)
    assert [len(group) for group in actual] == [len(group) for group in expected]
    ignored = () if client.target.stand_in else ("metadata_file",)
    for group, model in zip(actual, expected, strict=True):
        assert [kind for kind, _ in group] == [kind for kind, _ in model]
        for (_, body), (_, wanted) in zip(group, model, strict=True):
            assert_like(body, wanted, *ignored)


def _by_execution(seen: list[Any]) -> list[list[Frame]]:
    groups: dict[str, list[Frame]] = {}
    for kind, body in seen:
        groups.setdefault(body.get("execution_id") or body["id"], []).append((kind, body))
    return list(groups.values())


@pytest.mark.recordings("06_01")
def test_every_step_of_an_execution(client: Client, target: Target) -> None:
    with opened(client, "06_01") as response:
        command = {"cmd": "echo streamed; sleep 1"}
        told(client, "06_01", response, target.post("core.local", command, context=MISTRAL))


@pytest.mark.needs("runner")
@pytest.mark.recordings("06_02")
def test_a_put_is_an_event(client: Client, target: Target) -> None:
    with opened(client, "06_02") as response:
        posted = target.post("exttest.async_job", context=MISTRAL)
        target.wait_for(lambda: "result" in target.shown(posted["id"]))
        change = {"status": "succeeded", "result": {"a": 1}}
        assert target.ask("PUT", f"/executions/{posted['id']}", change).status_code == 200
        told(client, "06_02", response, posted)


@pytest.mark.recordings("06_03")
def test_nothing_is_told_twice(client: Client, target: Target) -> None:
    before = target.ran("core.noop")
    with opened(client, "06_03") as response:
        posted = target.post("core.noop")
        assert frames(response, 1, before, posted["id"])[0][1]["id"] == posted["id"]


@pytest.mark.recordings("06_04")
def test_default_events_include_live_actions(client: Client, target: Target) -> None:
    with opened(client, "06_04") as response:
        told(client, "06_04", response, target.post("core.noop", context=MISTRAL))


@pytest.mark.recordings("06_05")
def test_an_end_that_was_agreed(client: Client, target: Target) -> None:
    # The recording begins at "scheduled", which takes a server some time, and the stand-in none.
    posted = target.post("core.local", {"cmd": "sleep 2; echo e"}, delay=500)
    client.fill["6b03c28c746e698659600898"] = posted["id"]
    target.wait(posted["id"], {"delayed"})
    recorded = client.expected("06_05")["response"]["frames"]
    with opened(client, "06_05") as response:
        # All there is: the server ends the stream.
        seen = frames(response, 99)
    for (kind, body), (wanted_kind, wanted) in zip(seen, recorded, strict=True):
        assert kind == wanted_kind
        del body["delay"], body["log"], wanted["log"]
        assert_like(body, wanted)


@pytest.mark.recordings("06_06")
def test_output(client: Client, target: Target) -> None:
    with opened(client, "06_06") as response:
        told(client, "06_06", response, target.post("core.local", {"cmd": "echo l1; sleep 1; echo l2"}))


@pytest.mark.recordings("06_10", "06_11")
def test_strangers_stay_outside(client: Client) -> None:
    client.same("06_10")
    client.same("06_11")


@pytest.mark.needs("token")
@pytest.mark.recordings("06_12")
def test_a_token_in_the_query(client: Client) -> None:
    with opened(client, "06_12") as response:
        assert response.raw.read1() == b"\n"


@pytest.mark.recordings("06_13")
def test_the_path_behind_a_proxy(client: Client, target: Target) -> None:
    with opened(client, "06_13") as response:
        told(client, "06_13", response, target.post("core.noop", context=MISTRAL))


@pytest.mark.recordings("06_14")
def test_globs_and_action_refs(client: Client, target: Target) -> None:
    with opened(client, "06_14") as response:
        other = target.post("core.local", {"cmd": "true"})
        posted = target.post("core.noop")
        told(client, "06_14", response, posted, other)


@pytest.mark.recordings("06_15")
def test_timeout_and_cancellation(client: Client, target: Target) -> None:
    with opened(client, "06_15") as response:
        late = target.post("core.local", {"cmd": "sleep 9", "timeout": 2}, context=MISTRAL)
        unwanted = target.post("core.local", {"cmd": "sleep 9"}, context=MISTRAL)
        target.wait(unwanted["id"], {"running"})
        target.ask("DELETE", f"/executions/{unwanted['id']}")
        told(client, "06_15", response, late, unwanted)


STREAM = "/stream/v1/stream"


@pytest.mark.needs("stand-in")
def test_silence_is_bare_newlines(target: Target) -> None:
    with listening(target, f"{STREAM}?events=nothing", target.headers) as response:
        began = time.monotonic()
        assert [response.raw.read1() for _ in range(3)] == [b"\n"] * 3
        assert 0.9 < time.monotonic() - began < 3


@pytest.mark.needs("stand-in")
def test_stop_ends_streams() -> None:
    st2 = StackStorm()
    st2.start()
    headers = {"X-Auth-Token": st2.create_token()}
    with requests.get(st2.stream_url, headers=headers, stream=True, timeout=10) as response:
        assert response.raw.read1() == b"\n"
        st2.stop()
        assert response.raw.read1() == b""
    assert st2.listeners == 0


@pytest.mark.needs("stand-in")
def test_a_listener_that_does_not_read_is_disconnected() -> None:
    with StackStorm(backlog=3) as st2:
        headers = {"X-Auth-Token": st2.create_token()}
        blob = {"action": "sandbox.echo", "parameters": {"value": "x" * 500_000}}
        with requests.get(st2.stream_url, headers=headers, stream=True, timeout=10) as response:
            assert response.raw.read1() == b"\n"
            for _ in range(20):
                posted = requests.post(
                    f"{st2.api_url}/executions", json=blob, headers=headers, timeout=10
                )
                st2.executions.wait(posted.json()["id"])
            assert st2.listeners == 0
