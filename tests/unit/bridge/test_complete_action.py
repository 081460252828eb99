from __future__ import annotations

from typing import Any

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    answer,
    hang_up,
)
from support.clients import ONE_TRY, action_row, to_mistral

from st2actions_mistral.bridge.complete_action import complete_action
from st2actions_mistral.errors import Answered, RemoteError


def test_rejected_output_is_raised_if_it_cannot_be_truncated_further() -> None:
    output = {"stdout": "x", "st2": {"execution_id": "e"}}
    with (
        BreakingServer(answer(400, {"faultstring": "bad"})) as server,
        to_mistral(server.url) as mistral,
    ):
        with pytest.raises(Answered, match="bad"):
            complete_action(mistral, "a", "SUCCESS", {})
        assert len(server.requests) == 1
        with pytest.raises(Answered, match="bad"):
            complete_action(mistral, "a", "SUCCESS", output)
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 413, 422])
def test_rejected_output_is_truncated_to_its_link(status: int) -> None:
    output = {"stdout": "x", "st2": {"execution_id": "e", "status": "failed", "web_url": None}}
    script = [answer(status), answer(200, action_row("ERROR"))]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
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
            return answer(200, action_row())(exchange)
        return rejection(exchange)

    with BreakingServer(respond) as server, to_mistral(server.url, ONE_TRY) as mistral:
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
        return (answer(200, action_row()) if get else rejection)(exchange)

    with BreakingServer(respond) as server, to_mistral(server.url, ONE_TRY) as mistral:
        with pytest.raises(RemoteError):
            complete_action(mistral, "a", "SUCCESS", output, retries_exhausted=True)
        puts = [request for request in server.requests if request.method == "PUT"]
    assert [request.json()["output"] for request in puts] == [output] * len(puts)
