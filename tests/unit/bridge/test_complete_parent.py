from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from support.breaking_servers import BreakingServer, answer, reset

from st2actions_mistral.bridge.complete_parent import await_start, complete_parent
from st2actions_mistral.client.settings import St2Settings, Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.errors import OutcomeUnknown, RemoteError

ID = "6b03c160746e6986596007f7"
WORKFLOW = {"site": "mistral", "execution_id": "w-1", "workflow_name": "wf"}


def execution(status: str = "running", **context: Any) -> Any:
    return answer(200, {"id": ID, "status": status, "context": context})


def waits(*script: Any) -> list[float]:
    """Return the pauses of await_start while StackStorm responds as in the script."""
    slept: list[float] = []
    with BreakingServer(*script) as server:
        settings = St2Settings(f"{server.url}/v1", timeouts=Timeouts(5, 5, 0))
        with contextlib.closing(St2Client(settings)) as client:
            await_start(client, ID, "w-1", slept.append)
        assert len(server.requests) == len(script)
    return slept


@pytest.mark.parametrize(
    "now", [execution(mistral_workflow=WORKFLOW), execution("succeeded"), answer(404)]
)
def test_await_start_returns_at_once_if_the_parent_is_started_or_final(now: Any) -> None:
    assert waits(now) == []


def test_await_start_waits_until_the_parent_names_the_workflow() -> None:
    before = execution(mistral_workflow={**WORKFLOW, "execution_id": "w-0"})
    assert waits(execution(), before, execution(mistral_workflow=WORKFLOW)) == [0.05, 0.1]


def test_await_start_waits_about_10_seconds() -> None:
    slept = waits(*[execution()] * 14)
    assert 10 <= sum(slept) < 12


def test_await_start_raises_if_stackstorm_does_not_respond() -> None:
    with pytest.raises(OutcomeUnknown):
        waits(answer(502))


# -- complete_parent -----------------------------------------------------------------------------

SMALL = {"output": {"a": 1}, "state": "SUCCESS", "mistral": {"workflow_execution_id": "w-1"}}
LARGE = {**SMALL, "output": {"a": "x" * 70_000}}
DONE = answer(200, {"id": ID, "status": "succeeded"})


def sent(report: Any, *script: Any, retries_exhausted: bool) -> list[Any]:
    """Return the results that complete_parent sends while StackStorm responds as in the script."""
    with BreakingServer(*script) as server:
        settings = St2Settings(f"{server.url}/v1", timeouts=Timeouts(5, 0.5, 0))
        with contextlib.closing(St2Client(settings)) as client:
            complete_parent(client, ID, "succeeded", report, retries_exhausted=retries_exhausted)
        return [json.loads(request.body)["result"] for request in server.requests]


@pytest.mark.parametrize("retries_exhausted", [True, False])
@pytest.mark.parametrize("status", [400, 413, 422])
def test_rejected_result_is_truncated(status: int, retries_exhausted: bool) -> None:
    rejection, running = answer(status), answer(200, {"id": ID, "status": "running"})
    script = [rejection, running, DONE] if status == 400 else [rejection, DONE]
    with BreakingServer(*script) as server:
        settings = St2Settings(f"{server.url}/v1", timeouts=Timeouts(5, 0.5, 0))
        with contextlib.closing(St2Client(settings)) as client:
            complete_parent(client, ID, "succeeded", SMALL, retries_exhausted=retries_exhausted)
        assert "truncated" in json.loads(server.requests[-1].body)["result"]["mistral"]


@pytest.mark.parametrize(("report", "failure"), [(SMALL, answer(500)), (LARGE, reset())])
def test_result_is_truncated_for_a_500_or_a_broken_connection_only_after_retries(
    report: Any, failure: Any
) -> None:
    with pytest.raises(OutcomeUnknown):
        sent(report, failure, DONE, retries_exhausted=False)
    first, second = sent(report, failure, DONE, retries_exhausted=True)
    assert first == report
    assert "truncated" in second["mistral"]


@pytest.mark.parametrize("failure", [answer(302), answer(401), answer(429), answer(503), reset()])
def test_other_errors_are_raised(failure: Any) -> None:
    with pytest.raises(RemoteError):
        sent(SMALL, failure, DONE, retries_exhausted=True)


def test_both_results_have_the_layout() -> None:
    with BreakingServer(answer(413), DONE) as server:
        settings = St2Settings(f"{server.url}/v1", timeouts=Timeouts(5, 0.5, 0))
        with contextlib.closing(St2Client(settings)) as client:
            complete_parent(client, ID, "succeeded", SMALL, layout="st2mistral")
        full, truncated = (json.loads(request.body)["result"] for request in server.requests)
    assert full["a"] == 1
    assert truncated.keys() == {"result", "extra"}
    assert "truncated" in truncated["extra"]["mistral"]
