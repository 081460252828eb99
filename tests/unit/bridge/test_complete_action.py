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
    break_in_body,
    hang_up,
    reset,
    stall,
)

from st2actions_mistral.bridge.complete_action import complete_action
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings, Timeouts
from st2actions_mistral.errors import Answered, RemoteError

FAST = Timeouts(connect_timeout=0.3, read_timeout=0.3, retry_deadline=1)
ONE_TRY = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=0)
# With a sleep that does not sleep, a long deadline means: as often as it takes.
RETRYING = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=60)
COMPLETED = answer(500, {"faultstring": "Action execution is already completed"})
SILENT = stall()
LOST = [SILENT, reset(), hang_up(), break_in_body(), answer(502), answer(200, b"<html>")]


def enough_for(lost: Behaviour) -> Timeouts:
    """Timeouts that does not run out by itself, and is not tried by silence either."""
    return Timeouts(5, 0.2, 60) if lost is SILENT else RETRYING


@contextlib.contextmanager
def client(url: str, timeouts: Timeouts = RETRYING, **more: Any) -> Iterator[MistralClient]:
    def sleep(_: float) -> None:
        time.sleep(0.01)

    made = MistralClient(MistralSettings(f"{url}/v2", timeouts=timeouts), sleep=sleep, **more)
    with contextlib.closing(made):
        yield made


def action(state: str = "RUNNING", action_id: str = "a") -> dict[str, Any]:
    return {"id": action_id, "name": "st2.action", "state": state}


def test_an_output_that_mistral_refuses_is_final() -> None:
    output = {"stdout": "x", "st2": {"execution_id": "e"}}
    with BreakingServer(answer(400, {"faultstring": "bad"})) as server, client(server.url) as mistral:
        with pytest.raises(Answered, match="bad"):
            complete_action(mistral, "a", "SUCCESS", {})
        assert len(server.requests) == 1
        with pytest.raises(Answered, match="bad"):
            complete_action(mistral, "a", "SUCCESS", output)
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_output_that_is_refused_is_cut_to_its_link(status: int) -> None:
    output = {"stdout": "x", "st2": {"execution_id": "e", "status": "failed", "web_url": None}}
    script = [answer(status), answer(200, action("ERROR"))]
    with BreakingServer(*script) as server, client(server.url) as mistral:
        assert complete_action(mistral, "a", "ERROR", output)
        whole, cut = [request.json() for request in server.requests]
    assert whole == {"state": "ERROR", "output": output}
    assert cut["state"] == "ERROR"
    assert list(cut["output"]) == ["st2"]
    assert cut["output"]["st2"].items() >= output["st2"].items()
    assert str(status) in cut["output"]["st2"]["truncated"]["message"]


SMALL = {"stdout": "x", "st2": {"execution_id": "e"}}
LARGE = {"stdout": "x" * 70_000, "st2": {"execution_id": "e"}}


@pytest.mark.parametrize(
    ("refusal", "output"),
    [(answer(403), SMALL), (answer(500), SMALL), (hang_up(), LARGE)],
    ids=["firewall", "500", "breaks"],
)
def test_an_output_that_never_arrives_is_cut_once_that_was_retries_exhausted(
    refusal: Behaviour, output: dict[str, Any]
) -> None:
    def mistrals(exchange: Exchange) -> bool:
        assert exchange.request is not None
        if exchange.request.method == "GET" or "truncated" in exchange.request.json()["output"]["st2"]:
            return answer(200, action())(exchange)
        return refusal(exchange)

    with BreakingServer(mistrals) as server, client(server.url, ONE_TRY) as mistral:
        with pytest.raises(RemoteError):
            complete_action(mistral, "a", "SUCCESS", output)
        assert complete_action(mistral, "a", "SUCCESS", output, retries_exhausted=True)


@pytest.mark.parametrize(
    ("refusal", "output"),
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
def test_what_is_not_the_outputs_fault_cuts_none_however_often_it_was_tried(
    refusal: Behaviour, output: dict[str, Any]
) -> None:
    def mistrals(exchange: Exchange) -> bool:
        assert exchange.request is not None
        get = exchange.request.method == "GET"
        return (answer(200, action()) if get else refusal)(exchange)

    with BreakingServer(mistrals) as server, client(server.url, ONE_TRY) as mistral:
        with pytest.raises(RemoteError):
            complete_action(mistral, "a", "SUCCESS", output, retries_exhausted=True)
        puts = [request for request in server.requests if request.method == "PUT"]
    assert [request.json()["output"] for request in puts] == [output] * len(puts)
