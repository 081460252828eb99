"""The event stream, read from the socket as a client would."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from st2actions_mistral.sandbox.stackstorm import StackStorm

EXECUTIONS = "st2.execution__create,st2.execution__update"


@contextmanager
def listening(st2: StackStorm, token: str, **query: str) -> Iterator[requests.Response]:
    headers = {"X-Auth-Token": token}
    with requests.get(
        st2.stream_url, params=query, headers=headers, stream=True, timeout=10
    ) as response:
        yield response


def events(response: requests.Response, count: int) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    name = ""
    for line in response.iter_lines(chunk_size=1):
        text = line.decode()
        assert not text.startswith("id:")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            found.append((name, json.loads(text.removeprefix("data: "))))
            if len(found) == count:
                break
    return found


def post(st2: StackStorm, token: str, action: str, **parameters: Any) -> str:
    body = {"action": action, "parameters": parameters}
    answer = requests.post(
        f"{st2.api_url}/executions", json=body, headers={"X-Auth-Token": token}, timeout=10
    )
    execution_id: str = answer.json()["id"]
    return execution_id


@pytest.fixture
def token(st2: StackStorm) -> str:
    return st2.create_token()


def test_every_step_of_an_execution(st2: StackStorm, token: str) -> None:
    with listening(st2, token, events=EXECUTIONS) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=UTF-8"
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert response.headers["X-Accel-Buffering"] == "no"
        post(st2, token, "core.local", cmd="echo hi")
        seen = events(response, 4)
    assert [name for name, _ in seen] == ["st2.execution__create", *["st2.execution__update"] * 3]
    assert [body["status"] for _, body in seen] == ["requested", "scheduled", "running", "succeeded"]
    assert "result" not in seen[2][1]
    assert seen[3][1]["result"]["stdout"] == "hi"
    assert seen[3][1]["elapsed_seconds"] > 0


def test_default_events_include_live_actions(st2: StackStorm, token: str) -> None:
    with listening(st2, token) as response:
        post(st2, token, "core.noop")
        seen = events(response, 8)
    assert [name for name, _ in seen] == [
        "st2.liveaction__create",
        "st2.execution__create",
        *["st2.liveaction__update", "st2.execution__update"] * 3,
    ]
    assert seen[6][1]["result"] == '{"failed":false,"succeeded":true,"return_code":0}'


def test_globs_and_action_refs(st2: StackStorm, token: str) -> None:
    with listening(st2, token, events="st2.execution__*", action_refs="core.noop") as response:
        post(st2, token, "core.local", cmd="true")
        post(st2, token, "core.noop")
        seen = events(response, 4)
    assert {body["action"]["ref"] for _, body in seen} == {"core.noop"}


def test_output(st2: StackStorm, token: str) -> None:
    with listening(st2, token, events="st2.execution.output__create") as response:
        execution = post(st2, token, "core.local", cmd="echo l1; echo l2")
        _, body = events(response, 1)[0]
    assert body["execution_id"] == execution
    assert (body["output_type"], body["data"]) == ("stdout", "l1\nl2\n")


def test_an_end_that_was_agreed(st2: StackStorm, token: str) -> None:
    execution = post(st2, token, "sandbox.sleep", seconds=0.3)
    with listening(
        st2,
        token,
        events=EXECUTIONS,
        execution_ids=execution,
        end_event="st2.execution__update",
        end_execution_id=execution,
    ) as response:
        seen = events(response, 99)
    assert seen[-1][1]["status"] == "succeeded"


def test_silence_is_bare_newlines(st2: StackStorm, token: str) -> None:
    with listening(st2, token, events="nothing") as response:
        began = time.monotonic()
        assert [response.raw.read1() for _ in range(3)] == [b"\n"] * 3
        assert 0.9 < time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "Unauthorized - One of Token or API key required."),
        ({"X-Auth-Token": "bad"}, "Unauthorized"),
    ],
)
def test_strangers_stay_outside(st2: StackStorm, headers: dict[str, str], text: str) -> None:
    answer = requests.get(st2.stream_url, headers=headers, timeout=5)
    assert (answer.status_code, answer.json()) == (401, {"faultstring": text})


def test_a_token_in_the_query(st2: StackStorm, token: str) -> None:
    url = f"{st2.stream_url}?events={EXECUTIONS}&x-auth-token={token}"
    with requests.get(url, stream=True, timeout=5) as response:
        assert response.raw.read1() == b"\n"


def test_stop_ends_streams() -> None:
    st2 = StackStorm()
    st2.start()
    with listening(st2, st2.create_token()) as response:
        assert response.raw.read1() == b"\n"
        st2.stop()
        assert response.raw.read1() == b""
    assert st2.listeners == 0


def test_a_listener_that_does_not_read_is_disconnected() -> None:
    with StackStorm(backlog=3) as st2:
        key = st2.create_token()
        blob = "x" * 500_000
        with listening(st2, key, events=EXECUTIONS) as response:
            assert response.raw.read1() == b"\n"
            for _ in range(20):
                execution = post(st2, key, "sandbox.echo", value=blob)
                st2.executions.wait(execution)
            assert st2.listeners == 0
