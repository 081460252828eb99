"""``st2-mistral repair`` with a StackStorm that does not answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from support.breaking_servers import BreakingServer, Exchange, answer, hang_up
from support.command_records import ACTION

Run = Callable[..., tuple[int, str, str]]


def test_an_unknown_outcome_is_not_retried_and_advises_to_run_the_command_again(run: Run) -> None:
    action: dict[str, Any] = {
        "id": ACTION,
        "name": "st2.action",
        "state": "RUNNING",
        "created_at": "2026-11-25 06:00:00",
        "input": json.dumps({"ref": "core.noop"}),
        "task_execution_id": None,
    }

    def st2(exchange: Exchange) -> bool:
        assert exchange.request is not None
        posted = exchange.request.method == "POST"
        return (hang_up() if posted else answer(200, []))(exchange)

    with BreakingServer(st2) as stackstorm, BreakingServer(answer(200, action)) as mistral:
        status, _, error = run("repair", ACTION, st2=stackstorm.url, mistral=mistral.url)
        posts = [call for call in stackstorm.calls() if call.startswith("POST ")]
    assert (status, len(posts)) == (1, 1)
    assert "It is safe to run the command again." in error
