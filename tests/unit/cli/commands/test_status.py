"""``st2-mistral status`` with servers that a test defines: the table, and the exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.breaking_servers import BreakingServer, Exchange, answer, refusing
from support.command_records import ACTION

Run = Callable[..., tuple[int, str, str]]

ROW: dict[str, Any] = {
    "id": ACTION,
    "name": "st2.action",
    "state": "RUNNING",
    "created_at": "2026-11-25 06:00:00",
    "input": json.dumps({"ref": "core.noop"}),
    "task_execution_id": None,
}


def mistral(*, broken: bool = False) -> BreakingServer:
    """Return a Mistral with one pending action, of which a broken one shows the listing only."""

    def act(exchange: Exchange) -> bool:
        assert exchange.request is not None
        if exchange.request.path.startswith("/v2/action_executions?"):
            return answer(200, {"action_executions": [ROW]})(exchange)
        if broken:
            return answer(503, {"faultstring": "later"})(exchange)
        return answer(200, ROW)(exchange)

    return BreakingServer(act)


def test_missing_credential_is_reported_without_a_request(run: Run) -> None:
    with refusing() as closed:
        status, printed, error = run("status", st2=closed, mistral=closed, key="")
    assert (status, printed) == (1, "")
    assert "set [st2] api_key" in error


def test_no_pending_actions(run: Run) -> None:
    nothing = answer(200, {"action_executions": []})
    with BreakingServer(nothing) as server, BreakingServer(answer(200, [])) as st2:
        assert run("status", st2=st2.url, mistral=server.url)[:2] == (0, "No pending actions.\n")


def test_table_has_a_row_for_each_action(run: Run) -> None:
    with mistral() as server, BreakingServer(answer(200, [])) as st2:
        status, printed, error = run("status", st2=st2.url, mistral=server.url)
    heads, row = printed.splitlines()
    assert status == 0, error
    assert heads.split()[:2] == ["action", "execution"]
    assert row.startswith(ACTION)
    assert "none" in row


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_action_that_cannot_be_observed_is_an_error(run: Run, options: list[str]) -> None:
    with mistral(broken=True) as server, BreakingServer(answer(200, [])) as st2:
        status, printed, _ = run("status", *options, st2=st2.url, mistral=server.url)
    assert status == 1
    assert "it cannot be observed" in printed
