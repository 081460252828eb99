from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.breaking_servers import (
    Behaviour,
    BreakingServer,
    Exchange,
    answer,
    break_in_body,
    hang_up,
    refusing,
    reset,
    stall,
)
from support.clients import FAST, ONE_TRY, RETRYING, action_row, to_mistral

from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown

COMPLETED = answer(500, {"faultstring": "Action execution is already completed"})
SILENT = stall()
LOST = [SILENT, reset(), hang_up(), break_in_body(), answer(502), answer(200, b"<html>")]


def timeouts_for(lost: Behaviour) -> Timeouts:
    """Return timeouts that allow retries after a lost response, with a short one for silence."""
    return Timeouts(5, 1, 60) if lost is SILENT else RETRYING


def test_running_actions_reads_all_pages() -> None:
    pages = [
        answer(200, {"action_executions": [action_row(action_id=i) for i in "ab"], "next": "http://…"}),
        answer(200, {"action_executions": [action_row(action_id="c")]}),
    ]
    with BreakingServer(*pages) as server, to_mistral(server.url) as mistral:
        assert [row["id"] for row in mistral.running_actions()] == ["a", "b", "c"]
        first, second = (parse_qs(urlsplit(request.path).query) for request in server.requests)
    assert first["state"] == ["RUNNING"]
    assert "marker" not in first
    assert second["marker"] == ["b"]
    assert "input" not in first["fields"][0]


def test_listing_ends_with_an_empty_page() -> None:
    with BreakingServer(answer(200, {"action_executions": [], "next": "http://…"})) as server:
        with to_mistral(server.url) as mistral:
            assert list(mistral.running_actions()) == []
        assert len(server.requests) == 1


def test_endless_listing_is_an_error() -> None:
    page = {"action_executions": [action_row(action_id=i) for i in "ab"], "next": "http://…"}
    with BreakingServer(answer(200, page)) as server:
        with (
            to_mistral(server.url) as mistral,
            pytest.raises(OutcomeUnknown, match=r"GET .*/action_executions: .*without a new row"),
        ):
            list(mistral.running_actions())
        assert len(server.requests) == 4


def test_get_action_returns_none_for_an_unknown_one() -> None:
    with (
        BreakingServer(answer(200, action_row()), answer(404)) as server,
        to_mistral(server.url) as mistral,
    ):
        assert mistral.get_action("a/../b") == action_row()
        assert mistral.get_action("a") is None
        assert server.requests[0].path == "/v2/action_executions/a%2F..%2Fb"


def test_complete_action_sends_state_and_output() -> None:
    with (
        BreakingServer(answer(200, action_row("SUCCESS"))) as server,
        to_mistral(server.url) as mistral,
    ):
        assert mistral.complete_action("a", "SUCCESS", {"stdout": "é"})
        [request] = server.requests
    assert (request.method, request.path) == ("PUT", "/v2/action_executions/a")
    assert request.json() == {"state": "SUCCESS", "output": {"stdout": "é"}}


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "CANCELLED"])
@pytest.mark.parametrize("lost", [COMPLETED, *LOST])
def test_complete_action_leaves_a_final_action_alone(lost: Behaviour, state: str) -> None:
    with (
        BreakingServer(lost, answer(200, action_row(state))) as server,
        to_mistral(server.url, timeouts_for(lost)) as mistral,
    ):
        assert not mistral.complete_action("a", "SUCCESS", {})
        assert [request.method for request in server.requests] == ["PUT", "GET"]


def test_complete_action_looks_up_no_input_and_no_output() -> None:
    with BreakingServer(reset(), answer(200, action_row("SUCCESS"))) as server:
        with to_mistral(server.url) as mistral:
            assert not mistral.complete_action("a", "SUCCESS", {})
        assert server.requests[1].path == "/v2/action_executions/a?fields=id,state"


@pytest.mark.parametrize("lookup", [SILENT, reset(), answer(401), answer(500)])
def test_complete_action_raises_the_error_of_the_put_if_the_look_up_fails(lookup: Behaviour) -> None:
    with (
        BreakingServer(answer(500), lookup) as server,
        to_mistral(server.url, replace(timeouts_for(lookup), retry_deadline=0)) as mistral,
    ):
        with pytest.raises(OutcomeUnknown) as raised:
            mistral.complete_action("a", "SUCCESS", {})
        assert [request.method for request in server.requests] == ["PUT", "GET"]
    assert (raised.value.method, raised.value.status) == ("PUT", 500)


def test_complete_action_retries_if_the_look_up_fails() -> None:
    script = [reset(), answer(401), answer(200, action_row("SUCCESS"))]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
        assert mistral.complete_action("a", "SUCCESS", {})
        assert [request.method for request in server.requests] == ["PUT", "GET", "PUT"]


def test_complete_action_returns_false_for_an_unknown_action() -> None:
    script = [answer(500, {"faultstring": "not found"}), answer(404)]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
        assert not mistral.complete_action("a", "SUCCESS", {})


@pytest.mark.parametrize("lost", LOST)
def test_complete_action_retries_while_the_action_runs(lost: Behaviour) -> None:
    script = [lost, answer(200, action_row()), answer(200, action_row("SUCCESS"))]
    with BreakingServer(*script) as server, to_mistral(server.url, timeouts_for(lost)) as mistral:
        assert mistral.complete_action("a", "SUCCESS", {})
        assert [request.method for request in server.requests] == ["PUT", "GET", "PUT"]


def test_complete_action_is_unknown_while_mistral_answers_500() -> None:
    with BreakingServer(answer(500)) as server, to_mistral(server.url, FAST) as mistral:
        with pytest.raises(OutcomeUnknown):
            mistral.complete_action("a", "SUCCESS", {})
        assert len(server.requests) > 3


def test_unreachable_mistral_is_not_sent() -> None:
    with refusing() as url, to_mistral(url, FAST) as mistral, pytest.raises(NotSent):
        mistral.complete_action("a", "SUCCESS", {})


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"action_executions": None, "tasks": None},
        {"action_executions": [1], "tasks": [{}]},
    ],
)
def test_response_of_another_shape_is_unknown(body: Any) -> None:
    with BreakingServer(answer(200, body)) as server, to_mistral(server.url, ONE_TRY) as mistral:
        for read in (
            lambda: list(mistral.running_actions()),
            lambda: mistral.get_action("a"),
            lambda: mistral.action_definition("a"),
            lambda: mistral.get_execution("a"),
            lambda: mistral.tasks("a"),
            lambda: mistral.start_workflow("w", {}),
        ):
            with pytest.raises(OutcomeUnknown):
                read()


def test_look_up_of_another_shape_leaves_the_outcome_unknown() -> None:
    script = [reset(), answer(200, {"state": None, "id": "a"})]
    with (
        BreakingServer(*script) as server,
        to_mistral(server.url, ONE_TRY) as mistral,
        pytest.raises(OutcomeUnknown),
    ):
        mistral.complete_action("a", "SUCCESS", {})


def test_save_definition_creates_or_replaces() -> None:
    with BreakingServer(answer(201, {"name": "w"})) as server, to_mistral(server.url) as mistral:
        assert mistral.save_definition("name: é") is None
        [request] = server.requests
    assert request.body == "name: é".encode()
    assert request.headers["content-type"] == "text/plain"
    script = [reset(), answer(409), answer(200, {"name": "w"})]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
        assert mistral.save_definition("name: w") is None
        assert [request.method for request in server.requests] == ["POST", "POST", "PUT"]


def complains(of: str) -> Behaviour:
    return answer(200, {"valid": False, "error": of})


def test_validate_asks_twice_before_it_reports_an_error() -> None:
    """Two definitions that Mistral parses at the same moment can spoil each other."""
    script = [complains("Parse error"), answer(200, {"valid": True})]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
        assert mistral.validate("name: w") is None
    script = [answer(400, {"faultstring": "Parse error"}), answer(409), answer(200, {"name": "w"})]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
        mistral.save_definition("name: w")
        assert [request.method for request in server.requests] == ["POST", "POST", "PUT"]


@pytest.mark.parametrize("kind", ["workbook", "workflow"])
def test_validate_returns_mistrals_message(kind: str) -> None:
    script = [answer(200, {"valid": True}), complains("no tasks")]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
        assert mistral.validate("name: é", kind) is None
        assert mistral.validate("name: é", kind) == "no tasks"
        assert server.calls()[0] == f"POST /v2/{kind}s/validate"
        assert server.requests[0].body == "name: é".encode()
        assert server.requests[0].headers["content-type"] == "text/plain"


@pytest.mark.parametrize(
    "found", [{}, {"valid": "true"}, {"valid": False}, {"valid": False, "error": ""}]
)
def test_validate_without_a_verdict_is_invalid(found: dict[str, Any]) -> None:
    with BreakingServer(answer(200, found)) as server, to_mistral(server.url) as mistral:
        assert mistral.validate("name: w") == "It is invalid."


def test_definition_is_none_for_an_unknown_one() -> None:
    script = [answer(200, {"definition": "name: w"}), answer(404)]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
        assert mistral.definition("a/b") == "name: w"
        assert mistral.definition("a") is None
        assert server.requests[0].path == "/v2/workbooks/a%2Fb"


def test_save_definition_raises_mistrals_message() -> None:
    with (
        BreakingServer(answer(400, {"faultstring": "Invalid DSL"})) as server,
        to_mistral(server.url) as mistral,
        pytest.raises(Answered, match="Invalid DSL"),
    ):
        mistral.save_definition("name: w")


def test_start_workflow_does_not_evaluate_the_environment() -> None:
    with BreakingServer(answer(201, action_row())) as server, to_mistral(server.url) as mistral:
        mistral.start_workflow("wf", {"a": 1}, env={"e": "<% 1 %>"}, description="d", execution_id="u")
        [request] = server.requests
    assert request.json() == {
        "workflow_name": "wf",
        "input": {"a": 1},
        "params": {"env": {"e": "<% 1 %>"}, "evaluate_env": False},
        "description": "d",
        "id": "u",
    }


@pytest.mark.parametrize("lost", LOST)
def test_start_workflow_retries_an_unknown_outcome_only_with_an_id(lost: Behaviour) -> None:
    with (
        BreakingServer(lost, answer(201, action_row())) as server,
        to_mistral(server.url, timeouts_for(lost)) as mistral,
    ):
        assert mistral.start_workflow("wf", {}, execution_id="u") == action_row()
        assert len(server.requests) == 2
    with (
        BreakingServer(lost, answer(201, action_row())) as server,
        to_mistral(server.url, timeouts_for(lost)) as mistral,
    ):
        with pytest.raises(OutcomeUnknown):
            mistral.start_workflow("wf", {})
        assert len(server.requests) == 1


def test_tasks_and_get_execution() -> None:
    script = [answer(200, {"tasks": [{"id": "t"}]}), answer(200, action_row()), answer(404)]
    with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
        assert mistral.tasks("w") == [{"id": "t"}]
        assert mistral.get_execution("w") == action_row()
        assert mistral.get_execution("w") is None
        assert server.requests[0].path.startswith("/v2/tasks?workflow_execution_id=w&")


def test_mistral_with_authentication_answers_401_with_a_hint() -> None:
    with (
        BreakingServer(answer(401)) as server,
        to_mistral(server.url) as mistral,
        pytest.raises(Answered, match="requires authentication"),
    ):
        mistral.get_action("a")


def test_stop_ends_the_retries() -> None:
    stop = threading.Event()
    stop.set()
    with BreakingServer(answer(503)) as server, to_mistral(server.url, stop=stop) as mistral:
        with pytest.raises(OutcomeUnknown):
            mistral.get_action("a")
        assert len(server.requests) == 1


def test_unfinished_executions_are_listed() -> None:
    rows = [{"id": "w", "state": "RUNNING", "description": "x", "root_execution_id": None}]
    with BreakingServer(answer(200, {"executions": rows})) as server, to_mistral(server.url) as mistral:
        assert list(mistral.unfinished_executions()) == rows
        query = parse_qs(urlsplit(server.requests[0].path).query)
        assert query["state"] == ["in:RUNNING,PAUSED,IDLE"]
        assert "root_execution_id" in query["fields"][0]


def test_execution_state_asks_for_the_state_only() -> None:
    found = answer(200, {"id": "w", "state": "PAUSED"})
    with BreakingServer(found, answer(404)) as server, to_mistral(server.url) as mistral:
        assert mistral.execution_state("../w") == "PAUSED"
        assert server.requests[0].path == "/v2/executions/..%2Fw?fields=id,state"
        assert mistral.execution_state("w") is None


def test_execution_summary_asks_for_no_output() -> None:
    found = answer(200, {"id": "w", "state": "PAUSED", "description": "", "params": {}})
    with BreakingServer(found, answer(404)) as server, to_mistral(server.url) as mistral:
        assert mistral.execution_summary("../w")
        path = "/v2/executions/..%2Fw?fields=id,state,description,params,root_execution_id,project_id"
        assert server.requests[0].path == path
        assert mistral.execution_summary("w") is None


def test_sub_executions_of_a_task() -> None:
    rows = [{"id": "w", "state": "SUCCESS"}]
    with BreakingServer(answer(200, {"executions": rows})) as server, to_mistral(server.url) as mistral:
        assert mistral.sub_executions("t") == rows
        assert server.requests[0].path.startswith("/v2/tasks/t/workflow_executions?")


def test_start_workflow_stays_unknown_after_a_lost_response() -> None:
    """Mistral dies while it responds, and rejects the credential afterwards."""
    for after in (answer(401), answer(403, {"faultstring": "no"})):
        with (
            BreakingServer(reset(), after) as server,
            to_mistral(server.url, FAST) as mistral,
            pytest.raises(OutcomeUnknown),
        ):
            mistral.start_workflow("wf", {}, execution_id="u")


def test_start_workflow_tells_an_unknown_workflow_from_a_500() -> None:
    missing = answer(500, {"faultstring": "404: Workflow not found"})
    with (
        BreakingServer(missing, answer(404)) as server,
        to_mistral(server.url) as mistral,
        pytest.raises(Answered, match="There is no workflow wf") as caught,
    ):
        mistral.start_workflow("wf", {}, execution_id="u")
    assert caught.value.status == 404
    there = answer(200, {"name": "wf"})
    started = answer(201, {"id": "u", "state": "RUNNING"})
    for look in (there, answer(502)):
        with BreakingServer(missing, look, started) as server, to_mistral(server.url) as mistral:
            assert mistral.start_workflow("wf", {}, execution_id="u")["id"] == "u"


def test_rerun_task_runs_once_after_a_lost_response() -> None:
    running = answer(200, {"id": "t", "state": "RUNNING"})
    failed = answer(200, {"id": "t", "state": "ERROR"})
    refused = answer(400, {"faultstring": "must be in ERROR for rerun"})
    for script in (
        [running],
        [reset(), running],
        [reset(), failed, running],
        # Mistral did process the first request, and the look-up failed.
        [reset(), answer(502), refused, running],
    ):
        with BreakingServer(*script) as server, to_mistral(server.url) as mistral:
            mistral.rerun_task("t", reset=True)
            assert len(server.requests) == len(script)
    with (
        BreakingServer(refused) as server,
        to_mistral(server.url) as mistral,
        pytest.raises(Answered, match="must be in ERROR"),
    ):
        mistral.rerun_task("t", reset=True)


@pytest.mark.parametrize("status", [401, 409, 429])
def test_log_text_of_a_later_rejection_quotes_nothing(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    quoting = answer(status, {"faultstring": "refused: {'password': 'hush'}"})

    def in_error(exchange: Exchange) -> bool:
        assert exchange.request is not None
        looks = exchange.request.method == "GET"
        return (answer(200, {"id": "t", "state": "ERROR"}) if looks else quoting)(exchange)

    timeouts = Timeouts(5, 5, 5)
    with (
        BreakingServer(answer(503), quoting) as server,
        to_mistral(server.url, timeouts) as mistral,
        pytest.raises(OutcomeUnknown) as started,
    ):
        mistral.start_workflow("w", {"password": "hush"}, execution_id="e")
    with (
        BreakingServer(answer(503), in_error) as server,
        to_mistral(server.url, timeouts) as mistral,
        pytest.raises(OutcomeUnknown) as run,
    ):
        mistral.rerun_task("t", reset=True, env={"password": "hush"})
    shown = started.value.log_text() + run.value.log_text() + caplog.text
    assert str(status) in shown
    assert "hush" not in shown


def test_clock_asks_for_what_a_relay_may_list() -> None:
    """The documented policy of a relay has no rule for workbooks, for example."""
    date = {"Date": "Mon, 23 Nov 2026 04:47:03 GMT"}
    with BreakingServer(answer(200, {"action_executions": []}, date)) as server:
        with to_mistral(server.url) as mistral:
            now = mistral.clock()
        [request] = server.requests
    assert request.path == "/v2/action_executions?limit=1&fields=id"
    assert now == datetime(2026, 11, 23, 4, 47, 3, tzinfo=timezone.utc)


def test_update_environment_changes_nothing_else() -> None:
    with BreakingServer(answer(200, action_row())) as server, to_mistral(server.url) as mistral:
        mistral.update_environment("w", {"e": {"a": None}})
        [request] = server.requests
    assert (request.method, request.path) == ("PUT", "/v2/executions/w")
    assert request.json() == {"params": {"env": {"e": {"a": None}}}}


PAUSED_WORKFLOW = answer(200, {"id": "w", "state": "PAUSED"})


def test_resume_that_mistral_rejects_ends_the_workflow() -> None:
    """Mistral evaluates the output within the request, and changes nothing if that fails (23.0.0)."""
    reason = "Can not evaluate YAQL expression"
    rejected = answer(400, {"faultstring": reason})
    with (
        BreakingServer(rejected, PAUSED_WORKFLOW, answer(200, {"id": "w", "state": "ERROR"})) as server,
        to_mistral(server.url) as mistral,
    ):
        assert mistral.resume("w")["state"] == "ERROR"
        assert server.requests[0].json() == {"state": "RUNNING"}
        assert server.requests[-1].json() == {"state": "ERROR", "state_info": reason}


def test_resume_of_an_unknown_workflow_raises_404() -> None:
    with BreakingServer(answer(404)) as server, to_mistral(server.url) as mistral:
        with pytest.raises(Answered) as caught:
            mistral.resume("w")
        assert caught.value.status == 404
