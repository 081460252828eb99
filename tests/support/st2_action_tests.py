"""Tests of ``st2.action`` for the sandbox and for the real processes.

A test module imports them by name. They use its fixture ``bench``.
"""

from __future__ import annotations

import json

from support.mistral_bench import Bench
from support.waiting import eventually

AD_HOC = """
    actions:
      shell:
        base: st2.action
        base-input: {ref: "core.<% $.name %>", parameters: {cmd: echo based}}
        input: [name]
    """


def test_execution_of_a_sub_workflow_belongs_to_the_parent(bench: Bench) -> None:
    parent = bench.parent()
    workflow = bench.workbook(
        """
        own:
          action: st2.action
          input: {ref: core.noop}
          on-success: below
        below:
          workflow: inner
          # Mistral starts a sub-workflow with an empty environment.
          input: {env: <% env() %>, evaluate_env: false}
        """,
        more="""
        inner:
          tasks:
            inner-task:
              action: st2.action
              input: {ref: core.noop}
        """,
    )
    book = workflow.rpartition(".")[0]
    run = bench.run(workflow, parent=parent)
    assert run.execution["state"] == "SUCCESS"
    children = bench.st2.children(parent["id"])
    assert [child["context"]["parent"]["execution_id"] for child in children] == [parent["id"]] * 2
    names = {child["context"]["mistral"]["workflow_name"] for child in children}
    assert names == {f"{book}.main", f"{book}.inner"}


def test_action_execution_without_a_workflow(bench: Bench) -> None:
    action = bench.request(
        "POST",
        "/action_executions",
        {"name": "st2.action", "input": {"ref": "core.local", "parameters": {"cmd": "echo hi"}}},
    )
    eventually(lambda: bench.action_state(action["id"]) == "SUCCESS", "the action completes")
    done = bench.mistral.get_action(action["id"])
    assert done is not None
    output = done["output"]
    output = output if isinstance(output, dict) else json.loads(output)
    assert output["result"]["stdout"] == "hi"


def test_ad_hoc_action(bench: Bench) -> None:
    run = bench.run(bench.workbook("say: {action: shell, input: {name: local}}", extra=AD_HOC))
    assert run.execution["state"] == "SUCCESS"
    assert run.result("say")["stdout"] == "based"


def test_ad_hoc_action_with_an_unknown_ref_is_an_error(bench: Bench) -> None:
    run = bench.run(bench.workbook("say: {action: shell, input: {name: nope}}", extra=AD_HOC))
    assert run.tasks["say"]["state"] == "ERROR"
    assert run.result("say")["status"] == 400


def test_unknown_ref_is_an_error_with_stackstorms_message(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        no-such:
          action: st2.action
          input: {ref: core.nope}
          on-error: look
        look:
          action: std.echo output=<% task('no-such').result %>
        """
    )
    run = bench.run(workflow)
    assert run.tasks["no-such"]["state"] == "ERROR"
    result = run.result("look")
    assert (result["status"], result["ref"]) == (400, "core.nope")
    assert "core.nope" in result["message"]


def test_large_result_is_truncated_and_keeps_its_state(bench: Bench) -> None:
    workflow = bench.workbook(
        """
        good:
          action: st2.action
          input: {ref: core.local, parameters: {cmd: "head -c 3000000 /dev/zero | tr '\\\\0' x"}}
          on-success: bad
        bad:
          action: st2.action
          input:
            ref: core.local
            parameters: {cmd: "head -c 3000000 /dev/zero | tr '\\\\0' x; exit 4"}
          on-error: look
        look:
          action: std.echo output=<% task(bad).result %>
        """
    )
    run = bench.run(workflow)
    assert [run.tasks[name]["state"] for name in ("good", "bad", "look")] == [
        "SUCCESS",
        "ERROR",
        "SUCCESS",
    ]
    result = run.result("look")
    assert result["return_code"] == 4
    assert result["stdout"].endswith("(3000000 bytes, truncated)")
    assert result["st2"]["truncated"]["limit_kb"] == 1024
    assert result["st2"]["execution_id"] in result["st2"]["truncated"]["message"]
