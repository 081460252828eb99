"""The event stream, read from the socket."""

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
    """Open the stream of a recording, and check the head of the response."""
    client.replayed.add(name)
    recording = client.expected(name)
    request, head = recording["request"], recording["response"]["headers"]
    headers = {k: v for k, v in request["headers"].items() if k != "X-Auth-Token"}
    if "X-Auth-Token" in request["headers"]:
        headers |= client.target.headers
    with listening(client.target, request["path"], headers) as response:
        assert response.status_code == recording["response"]["status"]
        for header in ("Content-Type", "Cache-Control"):
            assert response.headers.get(header) == head.get(header)
        if client.target.stand_in and name != "stream_via_nginx":
            # A proxy removes these headers, as StackStorm's nginx does.
            for header in ("X-Accel-Buffering", "Transfer-Encoding"):
                assert response.headers.get(header) == head.get(header)
        assert_cookie(client.target, response, recording)
        yield response


def frames(response: requests.Response, count: int, *ids: str) -> list[Frame]:
    """Return the next events, only of the given executions and live actions if there are any."""
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


def assert_events(
    client: Client, name: str, response: requests.Response, *posted: dict[str, Any]
) -> None:
    """Check that the events are those of the recording, in order for each execution."""
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


@pytest.mark.recordings("stream_core_local_create_update")
def test_each_status_of_an_execution_is_an_event(client: Client, target: Target) -> None:
    with opened(client, "stream_core_local_create_update") as response:
        command = {"cmd": "echo streamed; sleep 1"}
        assert_events(
            client,
            "stream_core_local_create_update",
            response,
            target.post("core.local", command, context=MISTRAL),
        )


@pytest.mark.needs("runner")
@pytest.mark.recordings("stream_async_put")
def test_put_is_an_event(client: Client, target: Target) -> None:
    with opened(client, "stream_async_put") as response:
        posted = target.post("exttest.async_job", context=MISTRAL)
        target.wait_for(lambda: "result" in target.shown(posted["id"]))
        change = {"status": "succeeded", "result": {"a": 1}}
        assert target.ask("PUT", f"/executions/{posted['id']}", change).status_code == 200
        assert_events(client, "stream_async_put", response, posted)


@pytest.mark.recordings("stream_last_event_id")
def test_last_event_id_repeats_no_event(client: Client, target: Target) -> None:
    before = target.ran("core.noop")
    with opened(client, "stream_last_event_id") as response:
        posted = target.post("core.noop")
        assert frames(response, 1, before, posted["id"])[0][1]["id"] == posted["id"]


@pytest.mark.recordings("stream_default_events")
def test_default_events_include_live_actions(client: Client, target: Target) -> None:
    with opened(client, "stream_default_events") as response:
        assert_events(
            client, "stream_default_events", response, target.post("core.noop", context=MISTRAL)
        )


@pytest.mark.recordings("stream_end_event")
def test_end_event_ends_the_stream(client: Client, target: Target) -> None:
    # The recording begins at "scheduled". The stand-in passes that status at once.
    posted = target.post("core.local", {"cmd": "sleep 2; echo e"}, delay=500)
    client.fill["6b03c28c746e698659600898"] = posted["id"]
    target.wait(posted["id"], {"delayed"})
    recorded = client.expected("stream_end_event")["response"]["frames"]
    with opened(client, "stream_end_event") as response:
        # The server closes the stream.
        seen = frames(response, 99)
    for (kind, body), (wanted_kind, wanted) in zip(seen, recorded, strict=True):
        assert kind == wanted_kind
        del body["delay"], body["log"], wanted["log"]
        assert_like(body, wanted)


@pytest.mark.recordings("stream_output_events")
def test_output_is_an_event(client: Client, target: Target) -> None:
    with opened(client, "stream_output_events") as response:
        assert_events(
            client,
            "stream_output_events",
            response,
            target.post("core.local", {"cmd": "echo l1; sleep 1; echo l2"}),
        )


@pytest.mark.recordings("stream_no_auth", "stream_bad_token")
def test_invalid_credential_is_rejected(client: Client) -> None:
    client.same("stream_no_auth")
    client.same("stream_bad_token")


@pytest.mark.needs("token")
@pytest.mark.recordings("stream_token_query")
def test_token_in_the_query(client: Client) -> None:
    with opened(client, "stream_token_query") as response:
        assert response.raw.read1() == b"\n"


@pytest.mark.recordings("stream_via_nginx")
def test_path_behind_a_proxy(client: Client, target: Target) -> None:
    with opened(client, "stream_via_nginx") as response:
        assert_events(client, "stream_via_nginx", response, target.post("core.noop", context=MISTRAL))


@pytest.mark.recordings("stream_glob_and_action_ref")
def test_globs_and_action_refs_select_events(client: Client, target: Target) -> None:
    with opened(client, "stream_glob_and_action_ref") as response:
        other = target.post("core.local", {"cmd": "true"})
        posted = target.post("core.noop")
        assert_events(client, "stream_glob_and_action_ref", response, posted, other)


@pytest.mark.recordings("stream_timeout_cancel")
def test_timeout_and_cancellation_are_events(client: Client, target: Target) -> None:
    with opened(client, "stream_timeout_cancel") as response:
        late = target.post("core.local", {"cmd": "sleep 9", "timeout": 2}, context=MISTRAL)
        unwanted = target.post("core.local", {"cmd": "sleep 9"}, context=MISTRAL)
        target.wait(unwanted["id"], {"running"})
        target.ask("DELETE", f"/executions/{unwanted['id']}")
        assert_events(client, "stream_timeout_cancel", response, late, unwanted)


STREAM = "/stream/v1/stream"


@pytest.mark.needs("stand-in")
def test_heartbeat_is_an_empty_line(target: Target) -> None:
    with listening(target, f"{STREAM}?events=nothing", target.headers) as response:
        began = time.monotonic()
        assert [response.raw.read1() for _ in range(3)] == [b"\n"] * 3
        assert 0.9 < time.monotonic() - began < 3


@pytest.mark.needs("stand-in")
def test_stop_closes_streams() -> None:
    st2 = StackStorm()
    st2.start()
    headers = {"X-Auth-Token": st2.create_token()}
    with requests.get(st2.stream_url, headers=headers, stream=True, timeout=10) as response:
        assert response.raw.read1() == b"\n"
        st2.stop()
        assert response.raw.read1() == b""
    assert st2.listeners == 0


@pytest.mark.needs("stand-in")
def test_slow_listener_is_disconnected() -> None:
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
