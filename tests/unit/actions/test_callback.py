from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from mistral_lib import serialization
from support.breaking_servers import BreakingServer, answer, forward, refusing, reset, stall

from st2_mistral_sandbox.stackstorm import StackStorm
from st2actions_mistral.actions.action import St2Action
from st2actions_mistral.actions.callback import St2Callback
from st2actions_mistral.model.context import sign

UNKNOWN_ID = "6b03c160746e6986596007f7"
IDS = {
    "site": "mistral",
    "workflow_execution_id": "w-1",
    "workflow_name": "wf",
    "task_execution_id": "t-1",
    "action_execution_id": "a-1",
}

Configure = Callable[..., None]
MakeContext = Callable[..., Any]


@pytest.fixture
def parent(st2: StackStorm, configure: Configure, make_context: MakeContext) -> str:
    """Return the id of a running execution."""
    configure(api_url=st2.api_url, api_key=st2.create_api_key())
    known = {execution["id"] for execution in st2.executions.all()}
    assert St2Action("test.job").run(make_context()) is None
    [made] = [e["id"] for e in st2.executions.all() if e["id"] not in known]
    # Until the runner has returned, StackStorm may overwrite a final status.
    while st2.executions.get(made).get("result") != {"note": "started"}:
        time.sleep(0.001)
    return str(made)


def callback_for(parent: str, state: Any, result: Any = None, **context: Any) -> St2Callback:
    return St2Callback(state, result, {"parent": {"execution_id": parent}, **context})


def test_only_state_is_required() -> None:
    parameters = inspect.signature(St2Callback).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    assert defaults == {"state": inspect.Parameter.empty, "result": None, "st2_context": None}


def test_callback_is_synchronous() -> None:
    assert St2Callback("SUCCESS").is_sync()


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("SUCCESS", "succeeded"),
        ("ERROR", "failed"),
        ("error", "failed"),
        ("Succeeded", "succeeded"),
        ("timeout", "timeout"),
    ],
)
@pytest.mark.parametrize("output", [None, "é😀", [1, {"a": None}]])
def test_parent_gets_status_and_result(
    st2: StackStorm, parent: str, make_context: MakeContext, state: str, status: str, output: Any
) -> None:
    result = callback_for(parent, state, output).run(make_context())
    assert result.is_success()
    assert result.data == {"execution_id": parent, "status": status}
    execution = st2.executions.get(parent)
    assert execution["status"] == status
    assert execution["result"] == {"output": output, "state": state, "mistral": IDS}


def test_cancelled_parent_may_be_canceling_first(
    st2: StackStorm, parent: str, make_context: MakeContext
) -> None:
    result = callback_for(parent, "CANCELLED").run(make_context())
    assert result.is_success()
    assert result.data["status"] in ("canceling", "canceled")
    assert "message" not in result.data
    assert st2.executions.wait(parent)["status"] == "canceled"


def test_second_callback_succeeds_without_effect(
    st2: StackStorm, parent: str, make_context: MakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    first = callback_for(parent, "SUCCESS", "first").run(make_context())
    caplog.clear()
    second = callback_for(parent, "SUCCESS", "second").run(make_context())
    assert first.data == second.data == {"execution_id": parent, "status": "succeeded"}
    assert st2.executions.get(parent)["result"]["output"] == "first"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("state", "wanted"), [("ERROR", "failed"), ("CANCELLED", "canceled")])
def test_parent_with_another_final_status_stays_unchanged_and_is_reported(
    st2: StackStorm,
    parent: str,
    make_context: MakeContext,
    caplog: pytest.LogCaptureFixture,
    state: str,
    wanted: str,
) -> None:
    callback_for(parent, "SUCCESS", "first").run(make_context())
    result = callback_for(parent, state).run(make_context())
    assert result.is_success()
    assert result.data["status"] == "succeeded"
    assert "succeeded" in result.data["message"]
    assert wanted in result.data["message"]
    assert st2.executions.get(parent)["result"]["output"] == "first"
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any(parent in warning for warning in warnings)


def test_lost_response_is_retried(
    st2: StackStorm, parent: str, configure: Configure, make_context: MakeContext
) -> None:
    with BreakingServer(forward(st2.base_url, reset()), forward(st2.base_url)) as server:
        configure(api_url=f"{server.url}/api/v1")
        result = callback_for(parent, "SUCCESS", 5).run(make_context())
        assert result.data == {"execution_id": parent, "status": "succeeded"}
    assert st2.executions.get(parent)["result"]["output"] == 5


def test_unknown_parent_is_an_error_with_status_404(
    st2: StackStorm, configure: Configure, make_context: MakeContext
) -> None:
    configure(api_url=st2.api_url, api_key=st2.create_api_key())
    result = callback_for(UNKNOWN_ID, "SUCCESS").run(make_context())
    assert result.is_error()
    assert result.error["status"] == 404
    assert UNKNOWN_ID in result.error["message"]


def deep(levels: int) -> Any:
    value: Any = "leaf"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("output", "stored", "reason"),
    [
        ({"a": float("nan"), "b": [float("-inf")]}, {"a": "NaN", "b": ["-Infinity"]}, "finite"),
        ({"half \ud800": "\udfff"}, {"half \\ud800": "\\udfff"}, "surrogate"),
        (2**63, str(2**63), "63 bits"),
        ([10**5000], ["(an integer of 16610 bits, truncated)"], "63 bits"),
        ({"a": {1}}, {"a": "(a set, which is not JSON)"}, "not JSON"),
    ],
)
def test_values_that_stackstorm_cannot_store_are_replaced(
    st2: StackStorm, parent: str, make_context: MakeContext, output: Any, stored: Any, reason: str
) -> None:
    assert callback_for(parent, "ERROR", output).run(make_context()).is_success()
    execution = st2.executions.get(parent)
    assert execution["status"] == "failed"
    assert execution["result"]["output"] == stored
    [replaced] = execution["result"]["mistral"]["replaced"]
    assert reason in replaced


@pytest.mark.parametrize("levels", [400, 100_000])
def test_too_deeply_nested_result_is_truncated(
    st2: StackStorm, parent: str, make_context: MakeContext, levels: int
) -> None:
    assert callback_for(parent, "SUCCESS", deep(levels)).run(make_context()).is_success()
    execution = st2.executions.get(parent)
    assert execution["status"] == "succeeded"
    assert "nested deeper than 100 levels" in json.dumps(execution["result"]["output"])
    assert "nested deeper" in execution["result"]["mistral"]["replaced"][0]


@pytest.mark.parametrize(
    "output", [{"a.b": 1, "$c": {"$": 2}, "": 3, "\x00": "\x00"}, 2**63 - 1, -(2**63) + 1, "😀" * 1000]
)
def test_unusual_result_that_stackstorm_stores_is_unchanged(
    st2: StackStorm, parent: str, make_context: MakeContext, output: Any
) -> None:
    callback_for(parent, "SUCCESS", output).run(make_context())
    assert st2.executions.get(parent)["result"] == {
        "output": output,
        "state": "SUCCESS",
        "mistral": IDS,
    }


@pytest.mark.parametrize("output", ["y" * 17_000_000, {"a": ["é" * 9_000_000]}])
def test_too_large_result_is_truncated_without_a_retry(
    st2: StackStorm, parent: str, configure: Configure, make_context: MakeContext, output: Any
) -> None:
    # Long enough to notice a retry, or a wait for a deadline.
    configure(retry_deadline=60, read_timeout=60)
    begun = time.monotonic()
    result = callback_for(parent, "ERROR", output).run(make_context())
    assert time.monotonic() - begun < 30
    assert result.data == {"execution_id": parent, "status": "failed"}
    report = st2.executions.get(parent)["result"]
    assert report["state"] == "ERROR"
    assert report["output"].startswith(json.dumps(output)[:500])
    assert len(report["output"]) < 1000
    cut = report["mistral"]["truncated"]
    assert cut["size_bytes"] == len(json.dumps(output))
    assert "a-1" in cut["message"]


@pytest.mark.parametrize("refusal", [answer(400), answer(413), answer(500)])
def test_rejected_result_is_truncated(
    st2: StackStorm, parent: str, configure: Configure, make_context: MakeContext, refusal: Any
) -> None:
    with BreakingServer(refusal, forward(st2.base_url)) as server:
        configure(api_url=f"{server.url}/api/v1", retry_deadline=0)
        result = callback_for(parent, "SUCCESS", "small").run(make_context())
    assert result.data == {"execution_id": parent, "status": "succeeded"}
    assert "truncated" in st2.executions.get(parent)["result"]["mistral"]


@pytest.mark.parametrize("lost", [reset(), stall(), answer(500), answer(200, {"status": "succeeded"})])
def test_unknown_outcome_is_an_error(
    configure: Configure, make_context: MakeContext, lost: Any
) -> None:
    with BreakingServer(lost) as server:
        configure(api_url=server.url, read_timeout=0.2, retry_deadline=0.5)
        result = callback_for(UNKNOWN_ID, "SUCCESS").run(make_context())
    assert result.is_error()
    assert f"PUT {server.url}/executions/{UNKNOWN_ID}" in result.error["error"]


def test_unreachable_stackstorm_is_an_error_with_its_url(
    configure: Configure, make_context: MakeContext
) -> None:
    with refusing() as url:
        configure(api_url=url, retry_deadline=0.5)
        result = callback_for(UNKNOWN_ID, "SUCCESS").run(make_context())
    assert result.is_error()
    assert url in result.error["error"]
    assert "refused" in result.error["error"]


@pytest.mark.parametrize(
    ("inputs", "options", "named"),
    [
        ({"state": "RUNNING"}, {}, "state"),
        ({"state": ""}, {}, "state"),
        ({"state": None}, {}, "state"),
        ({"st2_context": None}, {}, "st2_context.parent"),
        ({"st2_context": {}}, {}, "st2_context.parent"),
        ({"st2_context": []}, {}, "st2_context"),
        ({"st2_context": {"parent": {"execution_id": "x"}}}, {}, "st2_context.parent.execution_id"),
        (
            {"st2_context": {"parent": {"execution_id": UNKNOWN_ID}, "api_url": "http://evil/v1"}},
            {},
            "st2_context.api_url",
        ),
        ({}, {"context_key": ["hush"]}, "st2_context.signature"),
        (
            {"st2_context": sign({"parent": {"execution_id": UNKNOWN_ID}}, "hush")},
            {"context_key": ["hush"]},
            "st2_context.workflow_execution_id: is missing",
        ),
        (
            {
                "st2_context": sign(
                    {"parent": {"execution_id": UNKNOWN_ID}, "workflow_execution_id": "w-2"}, "hush"
                )
            },
            {"context_key": ["hush"]},
            "st2_context.workflow_execution_id: the context belongs to another",
        ),
        ({}, {"site": ""}, "[st2] site"),
    ],
)
def test_invalid_input_or_option_is_named_and_nothing_is_sent(
    configure: Configure,
    make_context: MakeContext,
    inputs: dict[str, Any],
    options: dict[str, Any],
    named: str,
) -> None:
    with BreakingServer(answer(200, {"id": UNKNOWN_ID, "status": "succeeded"})) as server:
        configure(**{"api_url": server.url, **options})
        given = {"state": "SUCCESS", "st2_context": {"parent": {"execution_id": UNKNOWN_ID}}, **inputs}
        result = St2Callback(**given).run(make_context())
        assert server.connections == 0
    assert result.is_error()
    assert named in result.error["error"]
    assert "hush" not in str(result.error)


def test_signed_parent_is_finished(
    st2: StackStorm, parent: str, configure: Configure, make_context: MakeContext
) -> None:
    configure(context_key=["new", "hush"])
    given = {"parent": {"execution_id": parent, "user": "stanley"}, "workflow_execution_id": "w-1"}
    context = sign(given, "hush")
    assert St2Callback("SUCCESS", None, context).run(make_context()).is_success()
    assert st2.executions.get(parent)["status"] == "succeeded"


def test_callback_runs_after_serialization(
    st2: StackStorm, parent: str, make_context: MakeContext
) -> None:
    callback = callback_for(parent, "SUCCESS", {"é": ["{{ 1 }}", None]})
    serializer = serialization.get_polymorphic_serializer()
    arrived = serializer.deserialize(serializer.serialize(callback))
    assert vars(arrived) == vars(callback)
    json.dumps(vars(arrived))
    assert arrived.run(make_context()).is_success()
    assert st2.executions.get(parent)["result"]["output"] == {"é": ["{{ 1 }}", None]}


@pytest.mark.parametrize("said", [answer(401), answer(403), answer(503), reset()])
def test_other_errors_do_not_truncate_the_result(
    configure: Configure, make_context: MakeContext, said: Any
) -> None:
    with BreakingServer(said) as server:
        configure(api_url=server.url, retry_deadline=0)
        assert callback_for(UNKNOWN_ID, "SUCCESS", "small").run(make_context()).is_error()
        assert {request.json()["result"]["output"] for request in server.requests} == {"small"}


def test_repr_and_log_show_no_result_and_no_credential(
    configure: Configure, make_context: MakeContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with BreakingServer(answer(404)) as server:
        configure(api_url=server.url, api_key="hush-key")
        callback = callback_for(UNKNOWN_ID, "SUCCESS", {"password": "hush"})
        result = callback.run(make_context())
    assert repr(callback) == "<st2.callback 'SUCCESS'>"
    assert "st2.callback" in caplog.text
    assert "hush" not in repr(callback) + str(callback) + caplog.text + repr(result)


def test_reported_result_has_no_traceback_of_mistral(
    st2: StackStorm, parent: str, make_context: MakeContext
) -> None:
    frame = '  File "/x/mistral/engine/tasks.py", line 1, in run'
    traceback = f"Traceback (most recent call last):\n{frame}\n    run()\nKeyError: 'x'\n"
    failed = {"result": f"no such key:\n{traceback}"}
    assert callback_for(parent, "ERROR", [failed]).run(make_context()).is_success()
    assert st2.executions.get(parent)["result"]["output"] == [{"result": "no such key"}]
