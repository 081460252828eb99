"""The result of a parent execution."""

from __future__ import annotations

import json
from typing import Any

import pytest

from st2actions_mistral.model.links import WorkflowRef
from st2actions_mistral.model.report import (
    Task,
    in_order,
    lacks_children,
    lost_report,
    workflow_report,
)
from st2actions_mistral.model.result import truncate_parent_result

REF = WorkflowRef("here", "w-1", "examples.basic.main")
IDS = {"site": "here", "workflow_execution_id": "w-1", "workflow_name": "examples.basic.main"}


def child(number: int, **result: Any) -> dict[str, Any]:
    return {**result, "st2": {"execution_id": f"c-{number}", "status": "succeeded"}}


def task(result: Any = None, **given: Any) -> dict[str, Any]:
    return {"id": "t", "name": "run", "state": "SUCCESS", "result": json.dumps(result), **given}


def workflow(**given: Any) -> dict[str, Any]:
    return {"id": "w-1", "state": "SUCCESS", "state_info": None, "output": "{}", **given}


def test_report_has_output_state_ids_and_tasks() -> None:
    report = workflow_report(workflow(output='{"answer": 42}'), [Task(task(child(1, stdout="x")))], REF)
    assert report == {
        "output": {"answer": 42},
        "state": "SUCCESS",
        "mistral": IDS,
        "tasks": [
            {
                "name": "run",
                "state": "SUCCESS",
                "result": child(1, stdout="x"),
                "execution_id": "c-1",
            }
        ],
    }


def test_task_has_what_it_published() -> None:
    entry = Task(task(5, published='{"x": 1}')).entry()
    assert entry["published"] == {"x": 1}
    large = Task(task(5, published=json.dumps({"x": "y" * 20_000}))).entry()
    assert "truncated" in large["published"]["x"]
    assert "published" not in Task(task(5, published="{}")).entry()


def test_published_variables_count_as_results_of_tasks() -> None:
    published = json.dumps({str(n): "y" * 1_000 for n in range(14)})
    report = workflow_report(workflow(), [Task(task(5, published=published))] * 100, REF)
    assert "published" in report["tasks"][0]
    assert report["tasks"][-1].keys() == {"name", "state"}
    assert "results of tasks" in report["mistral"]["truncated"]["message"]


def test_task_in_error_has_its_state_info() -> None:
    failed = task({"error": "no"}, state="ERROR", state_info="because")
    report = workflow_report(workflow(state="ERROR", state_info="Failure …"), [Task(failed)], REF)
    assert report["mistral"]["state_info"] == "Failure …"
    assert report["tasks"][0]["state_info"] == "because"
    assert "execution_id" not in report["tasks"][0]


def test_task_with_items_has_a_list_of_children() -> None:
    items = {"runtime_context": {"with_items": {"count": 1}}}
    assert Task(task([child(1), child(2)], **items)).entry()["execution_ids"] == ["c-1", "c-2"]
    assert Task(task([child(1)], **items)).entry()["execution_ids"] == ["c-1"]
    assert "execution_ids" not in Task(task([], **items)).entry()


def test_missing_child_is_the_last_one_created() -> None:
    assert Task(task(None), children=["c-1", "c-2"]).entry()["execution_id"] == "c-2"
    assert Task(task([], state="ERROR"), children=["c-1"]).entry()["execution_id"] == "c-1"
    assert Task(task(child(1)), children=["c-1", "c-2"]).entry()["execution_id"] == "c-1"
    assert "execution_id" not in Task(task(None)).entry()


def test_missing_children_of_items_come_last() -> None:
    items = {"runtime_context": {"with_items": {"count": 3}}}
    made = ["c-1", "c-2", "c-3"]
    assert Task(task([None, None, None], **items), children=made).entry()["execution_ids"] == made
    found = Task(task([child(3), child(1)], state="ERROR", **items), children=made).entry()
    assert found["execution_ids"] == ["c-3", "c-1", "c-2"]


@pytest.mark.parametrize(
    ("shown", "lacks"),
    [
        (task(child(1)), False),
        (task(None), True),
        (task({"stdout": "x"}), True),
        (task([], state="ERROR"), True),
        ({"id": "t"}, True),
        (task(None, type="WORKFLOW"), False),
        (task([], runtime_context={"with_items": {"count": 0}}), False),
        (task([child(1)], runtime_context={"with_items": {"count": 2}}), True),
        (task([child(1), child(2)], runtime_context={"with_items": {"count": 2}}), False),
        (task([child(1)], runtime_context='{"with_items": {"count": 2}}'), True),
        (task([child(1)], runtime_context={"with_items": {"count": "2"}}), False),
        (task([], runtime_context={"with_items": 5}), True),
    ],
)
def test_lacks_children_counts_the_named_ones(shown: dict[str, Any], lacks: bool) -> None:
    assert lacks_children(shown) == lacks


def test_sub_workflow_is_named() -> None:
    assert Task(task({"a": 1}), ["w-2"]).entry()["workflow_execution_id"] == "w-2"


@pytest.mark.parametrize("result", [None, 5, "text", [1, {"st2": 5}], {"st2": {"execution_id": 5}}])
def test_result_of_another_shape_names_no_child(result: Any) -> None:
    entry = Task(task(result)).entry()
    assert entry["result"] == result
    assert entry.keys() == {"name", "state", "result"}


def test_invalid_result_is_none() -> None:
    assert Task(task(), ()).entry()["result"] is None
    assert Task({**task(), "result": "{"}).entry()["result"] is None


@pytest.mark.parametrize("state", ["ERROR", "CANCELLED", "RUNNING", "WAITING"])
def test_task_without_a_final_action_has_no_result(state: str) -> None:
    assert Task(task([], state=state)).entry()["result"] is None


def test_empty_list_stays_a_result() -> None:
    assert Task(task([])).entry()["result"] == []
    items = {"runtime_context": {"with_items": {"count": 0}}}
    assert Task(task([], **items)).entry()["result"] == []
    assert Task(task([], state="ERROR", **items)).entry()["result"] == []


def test_large_result_is_truncated_to_its_link() -> None:
    entry = Task(task(child(1, stdout="x" * 20_000, code=0))).entry()
    assert entry["result"]["code"] == 0
    assert "20000 bytes, truncated" in entry["result"]["stdout"]
    assert entry["result"]["st2"] == child(1)["st2"]


@pytest.mark.parametrize(
    "result",
    [
        "x" * 100_000,
        ["x" * 1000] * 1000,
        [child(n, stdout="x" * 5000) for n in range(500)],
        {f"key {n}": "x" * 100 for n in range(1000)},
        {**{f"key {n}": "x" * 100 for n in range(1000)}, **child(1)},
    ],
)
def test_large_results_are_truncated_within_the_limit(result: Any) -> None:
    entry = Task(task(result)).entry()
    assert len(json.dumps(entry["result"])) < 20_000
    assert "truncated" in json.dumps(entry["result"]) or entry["result"] == {"st2": child(1)["st2"]}


def test_many_results_are_omitted() -> None:
    tasks = [Task(task(child(n, stdout="x" * 2000), name=f"task {n}")) for n in range(1000)]
    report = workflow_report(workflow(), tasks, REF, omitted=7)
    assert len(json.dumps(report)) < 3 * 2**20
    assert len(report["tasks"]) == 1000
    assert "result" in report["tasks"][0]
    assert "result" not in report["tasks"][-1]
    assert report["tasks"][-1]["execution_id"] == "c-999"
    message = report["mistral"]["truncated"]["message"]
    assert "results of tasks, 7 tasks" in message
    assert "w-1" in message


def test_many_tasks_are_counted_only() -> None:
    failed = {"state": "ERROR", "state_info": "x" * 2000}
    report = workflow_report(workflow(), [Task(task(**failed)) for _ in range(1000)], REF)
    kept = len(report["tasks"])
    assert 400 < kept < 1000
    assert f"{1000 - kept} tasks" in report["mistral"]["truncated"]["message"]


def test_large_output_is_truncated() -> None:
    output = json.dumps({"small": 1, "large": "x" * 5_000_000})
    report = workflow_report(workflow(output=output), [], REF)
    assert report["output"]["small"] == 1
    assert "5000000 bytes, truncated" in report["output"]["large"]
    assert "4 MiB" in report["mistral"]["truncated"]["message"]


def test_rejected_report_is_truncated_to_a_summary() -> None:
    report = workflow_report(workflow(output='{"a": 1}'), [Task(task({"x": 1}))], REF)
    truncated = truncate_parent_result(report)
    assert "tasks" not in truncated
    assert truncated["state"] == "SUCCESS"
    assert "in workflow execution w-1" in truncated["mistral"]["truncated"]["message"]


def test_values_that_json_cannot_hold_are_replaced() -> None:
    report = workflow_report(workflow(output='{"n": NaN}'), [Task(task({"n": 2**70}))], REF)
    assert report["output"] == {"n": "NaN"}
    assert report["tasks"][0]["result"] == {"n": str(2**70)}
    assert len(report["mistral"]["replaced"]) == 2


def test_lost_report_has_the_reason() -> None:
    report = lost_report(REF, "It is gone.")
    assert report["mistral"] == {**IDS, "state_info": "It is gone."}
    assert report["state"] == "ERROR"


def follows(id_: str, *others: str) -> dict[str, Any]:
    triggers = [{"task_id": other, "event": "on-success"} for other in others]
    return {"id": id_, "runtime_context": {"triggered_by": triggers} if others else {}}


def test_in_order_puts_a_task_after_the_ones_that_triggered_it() -> None:
    tasks = [follows("c", "b"), follows("b", "a", "gone"), follows("x"), follows("a")]
    assert [found["id"] for found in in_order(tasks)] == ["a", "b", "c", "x"]


def test_in_order_puts_a_task_after_the_ones_it_requires() -> None:
    tasks = [{"id": f"id {name}", "name": name} for name in ("t3", "x", "t2", "t1")]
    required = {"t3": ["t1", "t2", "never run"], "t2": ["t1"], "t1": [], "other": ["t3"]}
    found = [task["name"] for task in in_order(tasks, required)]
    assert found == ["t1", "t2", "t3", "x"]
    assert [task["name"] for task in in_order(tasks)] == ["t3", "x", "t2", "t1"]


def test_in_order_keeps_tasks_that_require_each_other() -> None:
    tasks = [{"id": name, "name": name} for name in ("a", "b")]
    assert len(in_order(tasks, {"a": ["b"], "b": ["a"]})) == 2


def test_in_order_keeps_tasks_that_trigger_each_other() -> None:
    tasks = [follows("a", "b"), follows("b", "a"), {"id": "c", "runtime_context": "{"}]
    assert {found["id"] for found in in_order(tasks)} == {"a", "b", "c"}


TRACEBACK = """\
Traceback (most recent call last):
  File "mistral/expressions/yaql_expression.py", line 158, in evaluate
    result = get_yaql_engine_class()(expression).evaluate(
KeyError: 'nokey'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "mistral/engine/task_handler.py", line 83, in run_task
    task.run(first_run)
mistral.exceptions.YaqlEvaluationException: Can not evaluate YAQL expression
"""
REASON = "Failed to run task [error=Can not evaluate YAQL expression [expression=$.x.y], task=c]"


def test_state_info_has_no_traceback() -> None:
    info = f"{REASON}:\n{TRACEBACK}"
    failed = task([], state="ERROR", state_info=info)
    shown = workflow(state="ERROR", state_info=info, output=json.dumps({"result": info}))
    report = workflow_report(shown, [Task(failed)], REF)
    assert report["mistral"]["state_info"] == REASON
    assert report["tasks"][0]["state_info"] == REASON
    assert report["output"] == {"result": REASON}


def test_results_and_outputs_have_no_traceback() -> None:
    info = f"{REASON}:\n{TRACEBACK}"
    called = task({"result": info}, state="ERROR", state_info=info)
    items = task([{"result": info}], runtime_context={"with_items": {"count": 1}})
    shown = workflow(output=json.dumps({"published": {"result": info}, "other": 1}))
    report = workflow_report(shown, [Task(called), Task(items)], REF)
    assert [entry["result"] for entry in report["tasks"]] == [{"result": REASON}, [{"result": REASON}]]
    assert report["output"] == {"published": {"result": REASON}, "other": 1}


def test_a_long_traceback_is_removed_before_the_result_is_truncated() -> None:
    frames = TRACEBACK.replace("    task.run(first_run)\n", "    task.run(first_run)\n" * 2000)
    report = workflow_report(workflow(), [Task(task({"result": f"{REASON}:\n{frames}"}))], REF)
    assert report["tasks"][0]["result"] == {"result": REASON}
