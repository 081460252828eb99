"""Test that parents finish with their workflows and workflows are cancelled with their parents.

Neither ``st2.callback`` nor the runner's ``cancel`` helps here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.mistral_bench import Bench, new_bench
from support.parents import (
    HELLO,
    SLEEP,
    WORKFLOW,
    children,
    ended,
    log,
    nested,
    run,
    starting,
    workflow_of,
)
from support.waiting import eventually

from st2actions_mistral.model.links import workflow_execution_id

FAIL = "{ref: core.local, parameters: {cmd: exit 3}}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Start a sandbox without resyncs after the first one: nothing here waits for one.

    Without the notifier: the relay does it.
    """
    options = "resync_interval = 3600\nreschedule_after = 0\nlost_after = 2"
    folder = tmp_path_factory.mktemp("parents")
    for made in new_bench(folder, relay_options=options, notifier=False):
        made.stackstorm.register_runner("mistral-v2", starting(made))
        made.stackstorm.register_action(WORKFLOW)
        yield made


def test_parent_succeeds_with_its_workflow(bench: Bench) -> None:
    name = bench.workbook(
        f"""
        hello: {{action: st2.action, input: {HELLO}, on-success: [each, below, nothing]}}
        each:
          with-items: i in [1, 2]
          action: st2.action
          input: {{ref: sandbox.echo, parameters: {{value: <% str($.i) %>}}}}
        below: {{workflow: inner}}
        nothing: {{action: std.noop}}
        """,
        more="""
        inner:
          output: {deep: true}
          tasks:
            noop: {action: std.noop}
        """,
    )
    parent = run(bench, name)
    done = ended(bench, parent)
    assert done["status"] == "succeeded"
    result = done["result"]
    assert result["state"] == "SUCCESS"
    assert result["mistral"] == {
        "site": "mistral",
        "workflow_execution_id": workflow_execution_id(parent),
        "workflow_name": name,
    }
    tasks = {task["name"]: task for task in result["tasks"]}
    assert {task["state"] for task in tasks.values()} == {"SUCCESS"}
    mine = {e["id"]: e for e in bench.stackstorm.executions.all() if e.get("parent") == parent}
    assert mine[tasks["hello"]["execution_id"]]["result"]["result"] == {"value": "hello"}
    assert tasks["hello"]["result"]["result"] == {"value": "hello"}
    assert len(tasks["each"]["execution_ids"]) == 2
    assert set(tasks["each"]["execution_ids"]) < mine.keys()
    assert tasks["below"]["result"] == {"deep": True}
    assert bench.mistral.execution_state(tasks["below"]["workflow_execution_id"]) == "SUCCESS"
    assert tasks["nothing"]["result"] is None
    line = f"Finished: StackStorm execution {parent} succeeded"
    eventually(lambda: line in log(bench), "the relay logs it")


def test_child_executions_of_tasks_without_result_are_named(bench: Bench) -> None:
    name = bench.workbook(
        f"""
        late: {{action: st2.action, input: {SLEEP}, timeout: 2, on-error: [quiet, adhoc, each, none]}}
        quiet: {{action: st2.action, input: {HELLO}, keep-result: false}}
        adhoc: {{action: ours, input: {{value: hello}}}}
        each:
          with-items: i in [1, 2]
          keep-result: false
          action: st2.action
          input: {{ref: sandbox.echo, parameters: {{value: <% str($.i) %>}}}}
        none: {{with-items: "i in <% [] %>", action: st2.action, input: {HELLO}}}
        """,
        extra="""
        actions:
          ours:
            input: [value]
            base: st2.action
            base-input:
              ref: sandbox.echo
              parameters: {value: <% $.value %>}
              st2_context: <% env().get('__actions').get('st2.action').st2_context %>
            output: {said: <% $.result.value %>}
        """,
    )
    parent = run(bench, name)
    tasks = {task["name"]: task for task in ended(bench, parent)["result"]["tasks"]}
    mine = {e["id"]: e for e in bench.stackstorm.executions.all() if e.get("parent") == parent}
    of_task: dict[str, list[str]] = {}
    ids = {task["id"]: task["name"] for task in bench.mistral.tasks(workflow_of(bench, parent))}
    for id_, execution in mine.items():
        task_id = execution["context"]["mistral"]["task_execution_id"]
        of_task.setdefault(ids[task_id], []).append(id_)
    assert (tasks["late"]["state"], tasks["late"]["result"]) == ("ERROR", None)
    assert tasks["quiet"]["result"] is None
    assert tasks["adhoc"]["result"] == {"said": "hello"}
    for task in ("late", "quiet", "adhoc"):
        assert [tasks[task]["execution_id"]] == of_task[task]
    assert sorted(tasks["each"]["execution_ids"]) == sorted(of_task["each"])
    assert (len(of_task["each"]), len(mine)) == (2, 5)
    assert tasks["none"]["result"] == []
    assert "execution_ids" not in tasks["none"]


def test_tasks_of_reverse_workflow_are_in_order(bench: Bench) -> None:
    tasks = {n: f"t{n}: {{action: std.noop, requires: [{f't{n - 1}' if n else ''}]}}" for n in range(9)}
    book = bench.workbook(
        "noop: {action: std.noop}",
        more="back:\n  type: reverse\n  tasks:\n    " + "\n    ".join(tasks.values()),
    )
    done = ended(bench, run(bench, book.replace(".main", ".back"), task_name="t8"))
    assert [task["name"] for task in done["result"]["tasks"]] == [f"t{n}" for n in range(9)]


def test_parent_gets_output_of_its_workflow(bench: Bench) -> None:
    book = bench.workbook(
        "noop: {action: std.noop}",
        more="""
        told:
          output: {answer: <% 6 * 7 %>}
          tasks:
            noop: {action: std.noop}
        """,
    )
    done = ended(bench, run(bench, book.replace(".main", ".told")))
    assert done["result"]["output"] == {"answer": 42}


def test_parent_fails_with_its_workflow(bench: Bench) -> None:
    parent = run(bench, bench.workbook(f"fail: {{action: st2.action, input: {FAIL}}}"))
    done = ended(bench, parent)
    assert done["status"] == "failed"
    assert done["result"]["state"] == "ERROR"
    assert "fail" in done["result"]["mistral"]["state_info"]
    (task,) = done["result"]["tasks"]
    assert (task["name"], task["state"]) == ("fail", "ERROR")
    assert task["result"]["return_code"] == 3
    assert task["state_info"]
    assert bench.stackstorm.executions.get(task["execution_id"])["status"] == "failed"


def test_parent_succeeds_if_error_of_task_is_handled(bench: Bench) -> None:
    tasks = f"""
    fail: {{action: st2.action, input: {FAIL}, on-error: [mend]}}
    mend: {{action: std.noop}}
    """
    done = ended(bench, run(bench, bench.workbook(tasks)))
    assert done["status"] == "succeeded"
    assert [task["state"] for task in done["result"]["tasks"]] == ["ERROR", "SUCCESS"]


def test_workflow_is_cancelled_with_its_parent(bench: Bench) -> None:
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = children(bench, parent)
    assert bench.st2.cancel(parent)
    assert ended(bench, child["id"])["status"] == "canceled"
    assert ended(bench, parent)["status"] == "canceled"
    run_ = bench.wait(workflow_of(bench, parent))
    assert run_.execution["state"] == "CANCELLED"
    eventually(
        lambda: bench.mistral.tasks(run_.execution["id"])[0]["state"] == "CANCELLED", "the task ends"
    )


def test_paused_workflow_is_cancelled_with_its_parent(bench: Bench) -> None:
    parent = run(bench, bench.workbook(f"sleep: {{action: st2.action, input: {SLEEP}}}"))
    (child,) = children(bench, parent)
    workflow = workflow_of(bench, parent)
    bench.request("PUT", f"/executions/{workflow}", {"state": "PAUSED"})
    assert bench.st2.cancel(parent)
    assert ended(bench, child["id"])["status"] == "canceled"
    assert bench.mistral.execution_state(workflow) == "CANCELLED"


def test_sub_workflow_is_cancelled_with_parent(bench: Bench) -> None:
    name = bench.workbook(
        "below: {workflow: inner, input: {env: <% env() %>, evaluate_env: false}}",
        more=f"""
        inner:
          tasks:
            sleep: {{action: st2.action, input: {SLEEP}}}
        """,
    )
    parent = run(bench, name)
    (child,) = children(bench, parent)
    assert bench.st2.cancel(parent)
    assert ended(bench, child["id"])["status"] == "canceled"
    workflow = workflow_of(bench, parent)
    below = child["context"]["mistral"]["workflow_execution_id"]
    assert below != workflow
    assert bench.mistral.execution_state(workflow) == "CANCELLED"
    assert bench.mistral.execution_state(below) == "CANCELLED"


def test_cancel_of_outer_parent_reaches_everything(bench: Bench) -> None:
    outer, middle, child = nested(bench)
    assert bench.st2.cancel(outer)
    for execution in (child, middle, outer):
        assert ended(bench, execution)["status"] == "canceled"
    assert bench.mistral.execution_state(workflow_of(bench, middle)) == "CANCELLED"
    assert bench.mistral.execution_state(workflow_of(bench, outer)) == "CANCELLED"


def test_cancel_of_inner_parent_reaches_everything(bench: Bench) -> None:
    outer, middle, child = nested(bench)
    assert bench.st2.cancel(middle)
    for execution in (child, middle, outer):
        assert ended(bench, execution)["status"] == "canceled"
    assert bench.wait(workflow_of(bench, outer)).tasks["call"]["state"] == "CANCELLED"
    assert bench.mistral.execution_state(workflow_of(bench, middle)) == "CANCELLED"


def test_result_of_nested_workflow_contains_its_output(bench: Bench) -> None:
    inner = bench.workbook(f"hello: {{action: st2.action, input: {HELLO}}}")
    call = f"{{ref: tests.workflow, parameters: {{workflow: {inner}}}}}"
    outer = run(bench, bench.workbook(f"call: {{action: st2.action, input: {call}}}"))
    (task,) = ended(bench, outer)["result"]["tasks"]
    assert task["result"]["state"] == "SUCCESS"
    assert task["result"]["tasks"][0]["result"]["result"] == {"value": "hello"}


def test_large_results_of_tasks_are_truncated(bench: Bench) -> None:
    large = "{ref: core.local, parameters: {cmd: 'head -c 300000 /dev/zero | tr \"\\\\0\" x'}}"
    parent = run(bench, bench.workbook(f"large: {{action: st2.action, input: {large}}}"))
    done = ended(bench, parent)
    assert done["status"] == "succeeded", done
    (task,) = done["result"]["tasks"]
    assert "300000 bytes, truncated" in task["result"]["stdout"]
    assert task["result"]["return_code"] == 0
    assert task["execution_id"] == task["result"]["st2"]["execution_id"]
