"""``st2.action`` in a real Mistral."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from support.mistral_bench import Bench
from support.st2_action_tests import (  # noqa: F401 - pytest collects them here
    test_action_execution_without_a_workflow,
    test_ad_hoc_action,
    test_ad_hoc_action_with_an_unknown_ref_is_an_error,
    test_execution_of_a_sub_workflow_belongs_to_the_parent,
    test_large_result_is_truncated_and_keeps_its_state,
    test_unknown_ref_is_an_error_with_stackstorms_message,
)
from support.waiting import eventually

NASTY = [
    "{{ 1 + 1 }}",
    "{% raw %}{{ x }}{% endraw %}",
    "{% endraw %}{{ undefined.x }}",
    "{{ st2kv.system.secret | decrypt_kv }}",
    "\n{# gone? #}{{ a }}\r\n  {%- if b -%}\n",
    "emoji 😀 {{ é }} \\ \" ' \\u1234",
    "<% $.not_an_expression %>",
    "{{",
    "",
]


def echo(value: str, ref: str = "sandbox.echo", more: str = "") -> str:
    return f"""
        say:
          action: st2.action
          input:
            ref: {ref}
            parameters:
              value: {value}
            {more}
    """


def execution_in(bench: Bench, workflow: str, status: str) -> dict[str, Any]:
    """Wait until an execution of a workflow has a status, and return it."""

    def find() -> dict[str, Any] | None:
        for execution in bench.stackstorm.executions.all():
            ids = execution["context"].get("mistral", {})
            if ids.get("workflow_execution_id") == workflow and execution["status"] == status:
                return dict(execution)
        return None

    found: dict[str, Any] = eventually(find, f"an execution is {status}")
    return found


def run_alone(bench: Bench, given: dict[str, Any], state: str) -> dict[str, Any]:
    """Run st2.action without a workflow until it has a state, and return the action execution."""
    action = bench.request("POST", "/action_executions", {"name": "st2.action", "input": given})
    eventually(lambda: bench.action_state(action["id"]) == state, f"the action is {state}")
    done = bench.mistral.get_action(action["id"])
    assert done is not None
    return done


def test_mistral_lists_both_actions_with_their_inputs(bench: Bench) -> None:
    found = {
        action["name"]: action
        for action in bench.get("/actions?name=in:st2.action,st2.callback")["actions"]
    }
    assert found["st2.action"]["input"] == ("ref, parameters=null, st2_context=null, render_jinja=null")
    assert found["st2.callback"]["input"] == "state, result=null, st2_context=null"
    assert "core.local" in found["st2.action"]["description"]
    assert "SUCCESS, ERROR or CANCELLED" in found["st2.callback"]["description"]


def test_result_has_the_executions_result_and_a_link(bench: Bench) -> None:
    run = bench.run(
        bench.workbook(
            """
            say:
              action: st2.action
              input: {ref: core.local, parameters: {cmd: echo hello}}
            """
        )
    )
    (child,) = bench.children_of(run.actions[0]["id"])
    assert run.execution["state"] == "SUCCESS"
    assert run.result("say") == {
        "failed": False,
        "succeeded": True,
        "return_code": 0,
        "stdout": "hello",
        "stderr": "",
        "st2": {
            "execution_id": child["id"],
            "status": "succeeded",
            "web_url": child["web_url"],
        },
    }
    assert child["context"]["mistral"] == {
        "site": "mistral",
        "workflow_execution_id": run.execution["id"],
        "workflow_name": run.execution["workflow_name"],
        "task_execution_id": run.tasks["say"]["id"],
        "action_execution_id": run.actions[0]["id"],
    }
    assert "parent" not in child["context"]


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {v or "k": [{"k": v}]}])
def test_parameters_arrive_unchanged(bench: Bench, value: str, wrap: Any) -> None:
    workflow = bench.workbook(echo("<% $.value %>"), inputs="[value]")
    run = bench.run(workflow, {"value": wrap(value)})
    assert run.execution["state"] == "SUCCESS", run.actions
    assert run.result("say")["result"] == {"value": wrap(value)}


def test_render_jinja_lets_stackstorm_render(bench: Bench) -> None:
    workflow = bench.workbook(echo("<% $.value %>", more="render_jinja: true"), inputs="[value]")
    run = bench.run(workflow, {"value": "{{ 1 + 1 }}"})
    assert run.result("say")["result"] == {"value": "2"}


def test_notify_of_the_context_is_sent_with_each_execution(bench: Bench) -> None:
    notify = {"on-complete": {"routes": ["ops"], "message": "done"}}
    workflow = bench.workbook("say: {action: st2.action, input: {ref: core.noop}}")
    started = bench.mistral.start_workflow(
        workflow, {}, env={"__actions": {"st2.action": {"st2_context": {"notify": notify}}}}
    )
    run = bench.wait(started["id"])
    (child,) = bench.children_of(run.actions[0]["id"])
    assert child["liveaction"]["notify"]["on-complete"]["routes"] == ["ops"]


def test_with_items_creates_one_execution_per_item(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        each:
          with-items: i in <% range(20) %>
          action: st2.action
          input: {ref: sandbox.echo, parameters: {value: <% $.i %>}}
        """
    )
    run = bench.run(workflow)
    assert run.execution["state"] == "SUCCESS"
    values = [action["output"]["result"]["result"]["value"] for action in run.actions]
    assert sorted(values) == list(range(20))
    assert all(len(bench.children_of(action["id"])) == 1 for action in run.actions)


def test_ad_hoc_action_takes_the_context_from_the_environment(bench: Bench) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        "say: {action: quiet}",
        extra="""
        actions:
          quiet:
            base: st2.action
            base-input:
              ref: core.noop
              st2_context: <% env().get('__actions').get('st2.action').st2_context %>
        """,
    )
    assert bench.run(workflow, parent=parent).execution["state"] == "SUCCESS"
    assert len(bench.st2.children(parent["id"])) == 1


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"ref": ""}, "ref"),
        ({"ref": "local"}, "ref"),
        ({"ref": "core.local", "parameters": ["date"]}, "parameters"),
        ({"ref": "core.local", "st2_context": "here"}, "st2_context"),
        (
            {"ref": "core.local", "st2_context": {"api_url": "http://127.0.0.1:1/v1"}},
            "st2_context.api_url",
        ),
        ({"ref": "core.local", "st2_context": {"parent": {"execution_id": "x"}}}, "st2_context.parent"),
        ({"ref": "core.local", "render_jinja": "yes"}, "render_jinja"),
    ],
)
def test_invalid_input_is_an_error_and_nothing_is_sent(
    bench: Bench, given: dict[str, Any], named: str
) -> None:
    before = len(bench.stackstorm.executions.all())
    assert named in str(run_alone(bench, given, "ERROR")["output"])
    assert len(bench.stackstorm.executions.all()) == before


def test_failed_execution_is_an_error_with_its_result(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        breaks:
          action: st2.action
          input: {ref: core.local, parameters: {cmd: "echo oops >&2; exit 3"}}
          on-error: look
        look:
          action: std.echo output=<% task(breaks).result %>
        """
    )
    run = bench.run(workflow)
    assert run.tasks["breaks"]["state"] == "ERROR"
    result = run.result("look")
    assert (result["return_code"], result["stderr"]) == (3, "oops")
    assert result["st2"]["status"] == "failed"


def test_execution_that_timed_out_is_an_error(bench: Bench) -> None:
    workflow = bench.workbook(
        "slow: {action: st2.action, input: {ref: core.local, parameters: {cmd: sleep 30, timeout: 1}}}"
    )
    run = bench.run(workflow)
    assert run.tasks["slow"]["state"] == "ERROR"
    assert run.result("slow")["st2"]["status"] == "timeout"


def test_cancelled_execution_cancels_the_task(bench: Bench) -> None:
    workflow = bench.workbook(
        "slow: {action: st2.action, input: {ref: sandbox.sleep, parameters: {seconds: 300}}}"
    )
    started = bench.start(workflow)
    child = execution_in(bench, started, "running")
    assert bench.st2.cancel(child["id"])
    run = bench.wait(started)
    assert run.tasks["slow"]["state"] == "CANCELLED"
    assert run.actions[0]["state"] == "CANCELLED"


def test_action_stays_running_until_an_inquiry_is_answered(bench: Bench) -> None:
    workflow = bench.workbook(
        "ask: {action: st2.action, input: {ref: core.ask, parameters: {route: ops}}}"
    )
    started = bench.start(workflow)
    child = execution_in(bench, started, "pending")
    action_id = child["context"]["mistral"]["action_execution_id"]
    assert bench.action_state(action_id) == "RUNNING"
    settings = bench.sandbox.st2_settings
    requests.put(
        f"{settings.api_url}/inquiries/{child['id']}",
        json={"response": {"continue": True}},
        headers={"St2-Api-Key": settings.credential.api_key},
        timeout=30,
    ).raise_for_status()
    run = bench.wait(started)
    assert run.execution["state"] == "SUCCESS"
    assert run.result("ask")["response"] == {"continue": True}
