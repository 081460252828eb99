"""``st2.callback`` in a real Mistral."""

from __future__ import annotations

from typing import Any

import pytest
from support.mistral_bench import Bench, environment
from support.waiting import eventually


def report(state: str, result: str = "<% $.result %>") -> str:
    return f"""
        tell:
          action: st2.callback
          input: {{state: {state}, result: {result}}}
        """


def execution_of(bench: Bench, parent: dict[str, Any]) -> dict[str, Any]:
    execution = bench.st2.get_execution(parent["id"])
    assert execution is not None
    return execution


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("SUCCESS", "succeeded"),
        ("ERROR", "failed"),
        ("succeeded", "succeeded"),
        ("Failed", "failed"),
        ("timeout", "timeout"),
        ("abandoned", "abandoned"),
    ],
)
def test_parent_gets_status_and_result(bench: Bench, state: str, status: str) -> None:
    parent = bench.parent()
    workflow = bench.workbook(report(state), inputs="[result]")
    run = bench.run(workflow, {"result": {"a": [1, None, "{{ x }}"]}}, parent=parent)
    assert run.execution["state"] == "SUCCESS", run.actions
    execution = execution_of(bench, parent)
    assert execution["status"] == status
    assert execution["result"] == {
        "output": {"a": [1, None, "{{ x }}"]},
        "state": state,
        "mistral": {
            "site": "mistral",
            "workflow_execution_id": run.execution["id"],
            "workflow_name": workflow,
            "task_execution_id": run.tasks["tell"]["id"],
            "action_execution_id": run.actions[0]["id"],
        },
    }
    assert run.result("tell") == {"execution_id": parent["id"], "status": status}


@pytest.mark.parametrize("state", ["CANCELLED", "canceled"])
def test_cancelled_parent_keeps_stackstorms_result(bench: Bench, state: str) -> None:
    parent = bench.parent()
    run = bench.run(bench.workbook(report(state, "why")), parent=parent)
    assert run.execution["state"] == "SUCCESS"
    eventually(lambda: execution_of(bench, parent)["status"] == "canceled", "the parent is cancelled")
    assert execution_of(bench, parent)["result"] == {
        "message": "Action canceled by user.",
        "user": "st2admin",
    }
    assert run.result("tell") == {"execution_id": parent["id"], "status": "canceling"}


@pytest.mark.parametrize("result", ["text", 5, None, [1], {}, True])
def test_any_value_is_reported_as_output(bench: Bench, result: Any) -> None:
    parent = bench.parent()
    workflow = bench.workbook(report("SUCCESS"), inputs="[result]")
    bench.run(workflow, {"result": result}, parent=parent)
    assert execution_of(bench, parent)["result"]["output"] == result


def test_second_callback_succeeds_without_effect(bench: Bench) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        """
        tell:
          action: st2.callback
          input: {state: SUCCESS, result: first}
          on-success: again
        again:
          action: st2.callback
          input: {state: SUCCESS, result: second}
        """
    )
    run = bench.run(workflow, parent=parent)
    assert run.result("again") == {"execution_id": parent["id"], "status": "succeeded"}
    assert execution_of(bench, parent)["result"]["output"] == "first"


def test_second_callback_with_another_state_reports_the_first(bench: Bench) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        """
        tell:
          action: st2.callback
          input: {state: ERROR, result: first}
          on-success: again
        again:
          action: st2.callback
          input: {state: SUCCESS, result: second}
        """
    )
    run = bench.run(workflow, parent=parent)
    assert run.execution["state"] == "SUCCESS"
    result = run.result("again")
    assert result["status"] == "failed"
    assert "was failed before" in result["message"]
    assert execution_of(bench, parent)["result"]["output"] == "first"


def failed_with(bench: Bench, tasks: str, env: dict[str, Any]) -> str:
    started = bench.mistral.start_workflow(bench.workbook(tasks), {}, env=env)
    run = bench.wait(started["id"])
    assert run.tasks["tell"]["state"] == "ERROR"
    return str(run.result("tell")["error"])


def test_unknown_state_lists_the_valid_ones(bench: Bench) -> None:
    parent = bench.parent()
    env = environment(bench.sandbox.st2_settings.api_url, parent)
    error = failed_with(bench, report("DONE", "x"), env)
    assert error.startswith("state: 'DONE'")
    assert "SUCCESS, ERROR or CANCELLED" in error
    assert execution_of(bench, parent)["status"] == "running"


def test_missing_parent_is_an_error(bench: Bench) -> None:
    assert "st2_context.parent: is missing" in failed_with(bench, report("SUCCESS", "x"), {})


def test_unknown_parent_is_an_error(bench: Bench) -> None:
    context = {"parent": {"execution_id": "0" * 24}}
    env = {"__actions": {"st2.callback": {"st2_context": context}}}
    error = failed_with(bench, report("SUCCESS", "x"), env)
    assert "404" in error
    assert "0" * 24 in error
