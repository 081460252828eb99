from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    answer,
    hang_up,
)

from st2actions_mistral.bridge.complete_action import complete_action
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.errors import Answered, RemoteError

ONE_TRY = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=0)
# The sleeps are short, so a long deadline means many retries.
RETRYING = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=60)


@contextlib.contextmanager
def client(url: str, timeouts: Timeouts = RETRYING, **more: Any) -> Iterator[MistralClient]:
    def sleep(_: float) -> None:
        time.sleep(0.01)

    made = MistralClient(MistralSettings(f"{url}/v2", timeouts=timeouts), sleep=sleep, **more)
    with contextlib.closing(made):
        yield made


def action(state: str = "RUNNING", action_id: str = "a") -> dict[str, Any]:
    return {"id": action_id, "name": "st2.action", "state": state}


def test_rejected_output_is_raised_if_it_cannot_be_truncated_further() -> None:
    output = {"stdout": "x", "st2": {"execution_id": "e"}}
    with BreakingServer(answer(400, {"faultstring": "bad"})) as server, client(server.url) as mistral:
        with pytest.raises(Answered, match="bad"):
            complete_action(mistral, "a", "SUCCESS", {})
        assert len(server.requests) == 1
        with pytest.raises(Answered, match="bad"):
            complete_action(mistral, "a", "SUCCESS", output)
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 413, 422])
def test_rejected_output_is_truncated_to_its_link(status: int) -> None:
    output = {"stdout": "x", "st2": {"execution_id": "e", "status": "failed", "web_url": None}}
    script = [answer(status), answer(200, action("ERROR"))]
    with BreakingServer(*script) as server, client(server.url) as mistral:
        assert complete_action(mistral, "a", "ERROR", output)
        full, truncated = [request.json() for request in server.requests]
    assert full == {"state": "ERROR", "output": output}
    assert truncated["state"] == "ERROR"
    assert list(truncated["output"]) == ["st2"]
    assert truncated["output"]["st2"].items() >= output["st2"].items()
    assert str(status) in truncated["output"]["st2"]["truncated"]["message"]


SMALL = {"stdout": "x", "st2": {"execution_id": "e"}}
LARGE = {"stdout": "x" * 70_000, "st2": {"execution_id": "e"}}


@pytest.mark.parametrize(
    ("rejection", "output"),
    [(answer(403), SMALL), (answer(500), SMALL), (hang_up(), LARGE)],
    ids=["firewall", "500", "breaks"],
)
def test_output_that_never_arrives_is_truncated_after_retries(
    rejection: Behaviour, output: dict[str, Any]
) -> None:
    def respond(exchange: Exchange) -> bool:
        assert exchange.request is not None
        if exchange.request.method == "GET" or "truncated" in exchange.request.json()["output"]["st2"]:
            return answer(200, action())(exchange)
        return rejection(exchange)

    with BreakingServer(respond) as server, client(server.url, ONE_TRY) as mistral:
        with pytest.raises(RemoteError):
            complete_action(mistral, "a", "SUCCESS", output)
        assert complete_action(mistral, "a", "SUCCESS", output, retries_exhausted=True)


@pytest.mark.parametrize(
    ("rejection", "output"),
    [
        (answer(401), SMALL),
        (answer(404), SMALL),
        (answer(302), SMALL),
        (answer(503), SMALL),
        (hang_up(), SMALL),
        (answer(500), {"error": "lost"}),
    ],
    ids=["401", "404", "302", "503", "breaks", "no-result"],
)
def test_other_errors_do_not_truncate_the_output(rejection: Behaviour, output: dict[str, Any]) -> None:
    def respond(exchange: Exchange) -> bool:
        assert exchange.request is not None
        get = exchange.request.method == "GET"
        return (answer(200, action()) if get else rejection)(exchange)

    with BreakingServer(respond) as server, client(server.url, ONE_TRY) as mistral:
        with pytest.raises(RemoteError):
            complete_action(mistral, "a", "SUCCESS", output, retries_exhausted=True)
        puts = [request for request in server.requests if request.method == "PUT"]
    assert [request.json()["output"] for request in puts] == [output] * len(puts)
