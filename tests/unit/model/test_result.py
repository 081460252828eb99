from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st2actions_mistral.model.context import MistralIds
from st2actions_mistral.model.result import (
    fit,
    laid_out,
    parent_result,
    task_result,
    truncate_parent_result,
    truncate_rejected,
)

CHILD: dict[str, Any] = {
    "id": "6b03c160746e6986596007f7",
    "status": "succeeded",
    "web_url": "https://st2/#/history/6b03c160746e6986596007f7",
    "result": {"stdout": "hello", "return_code": 0},
}
LINK = {
    "execution_id": "6b03c160746e6986596007f7",
    "status": "succeeded",
    "web_url": "https://st2/#/history/6b03c160746e6986596007f7",
}


def test_task_result_has_the_result_and_a_link() -> None:
    assert task_result(CHILD) == {"stdout": "hello", "return_code": 0, "st2": LINK}


@pytest.mark.parametrize("result", [[1, 2], "text", 0, False])
def test_task_result_wraps_a_result_that_is_no_object(result: Any) -> None:
    assert task_result({**CHILD, "result": result}) == {"result": result, "st2": LINK}


@pytest.mark.parametrize(
    "child", [{**CHILD, "result": None}, {k: CHILD[k] for k in LINK if k in CHILD}]
)
def test_task_result_without_a_result_is_the_link(child: dict[str, Any]) -> None:
    child = {"id": CHILD["id"], "status": "succeeded", "web_url": CHILD["web_url"], **child}
    assert task_result(child) == {"st2": LINK}


def test_task_result_of_an_omitted_result_has_its_size() -> None:
    child = {name: value for name, value in CHILD.items() if name != "result"}
    result = task_result({**child, "result_size": 3 * 1024 * 1024})
    assert fit(result, 1024) == result
    truncated = result["st2"].pop("truncated")
    assert result == {"st2": LINK}
    assert truncated["size_kb"] == 3 * 1024
    assert LINK["execution_id"] in truncated["message"]


def test_task_result_without_web_url_has_null() -> None:
    child = {"id": "x", "status": "failed", "result": {}}
    assert task_result(child) == {"st2": {"execution_id": "x", "status": "failed", "web_url": None}}


def _mistrals_size_kb(result: Any) -> int:
    # As mistral.utils does it: sys.getsizeof(str(value)) // 1024.
    return sys.getsizeof(str({"result": result})) // 1024


def test_fit_keeps_a_small_result() -> None:
    result = task_result(CHILD)
    assert fit(result, 1024) == result


def test_fit_without_a_limit_keeps_everything() -> None:
    result = {**task_result(CHILD), "stdout": "x" * 5_000_000}
    assert fit(result, -1) == result


def test_fit_truncates_to_a_summary_with_a_link() -> None:
    result = {**task_result(CHILD), "stdout": "y" * 5_000, "rows": [{"a": 1}] * 1_000, "empty": None}
    truncated = fit(result, 4)
    assert truncated["return_code"] == 0
    assert truncated["empty"] is None
    assert truncated["stdout"].startswith("yyyy")
    assert "5000 bytes" in truncated["stdout"]
    assert "bytes of JSON" in truncated["rows"]
    assert truncated["st2"]["execution_id"] == LINK["execution_id"]
    assert truncated["st2"]["truncated"]["limit_kb"] == 4
    assert truncated["st2"]["truncated"]["size_kb"] == _mistrals_size_kb(result)
    assert LINK["execution_id"] in truncated["st2"]["truncated"]["message"]


def test_fit_truncates_many_small_values_to_the_link() -> None:
    truncated = fit({**task_result(CHILD), **{f"key{i}": "x" * 100 for i in range(100)}}, 4)
    assert list(truncated) == ["st2"]


@pytest.mark.parametrize("limit_kb", [1, 2, 16, 1024])
def test_fit_keeps_the_largest_value_below_the_limit(limit_kb: int) -> None:
    link = {"st2": LINK}
    room = (limit_kb + 1) * 1024 - 1 - sys.getsizeof(str({"result": {"o": "", **link}}))
    assert fit({"o": "x" * room, **link}, limit_kb) == {"o": "x" * room, **link}
    assert "truncated" in fit({"o": "x" * (room + 1), **link}, limit_kb)["st2"]


@pytest.mark.parametrize("limit_kb", [1, 16, 1024])
@pytest.mark.parametrize(("wide", "width"), [("é", 1), ("€", 2), ("😀", 4)])
def test_fit_counts_wide_characters_as_mistral_does(limit_kb: int, wide: str, width: int) -> None:
    link = {"st2": LINK}
    room = (limit_kb + 1) * 1024 - 1 - sys.getsizeof(str({"result": {"o": wide, **link}}))
    fits = {"o": wide + "x" * (room // width), **link}
    assert fit(fits, limit_kb) == fits
    above = {"o": fits["o"] + "x", **link}
    assert _mistrals_size_kb(above) == limit_kb + 1
    assert "truncated" in fit(above, limit_kb)["st2"]


def test_fit_replaces_what_is_no_json() -> None:
    sent = fit({"n": float("nan"), "s": "\ud800", "st2": LINK}, 1024)
    assert sent == {
        "n": "NaN",
        "s": "\\ud800",
        "st2": {
            **LINK,
            "replaced": [
                "numbers that are not finite, by strings",
                "halves of surrogate pairs, by their escapes",
            ],
        },
    }


def test_rejected_result_is_truncated_to_the_link() -> None:
    left = truncate_rejected({"stdout": "x", "st2": LINK}, 413)
    assert list(left) == ["st2"]
    assert left["st2"].items() >= LINK.items()
    assert "413" in left["st2"]["truncated"]["message"]
    assert LINK["execution_id"] in left["st2"]["truncated"]["message"]


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=()), max_size=8).filter(lambda name: name != "st2"),
        st.recursive(
            st.text(st.characters(exclude_categories=()), max_size=400).map(lambda text: text * 40)
            | st.integers()
            | st.floats()
            | st.sampled_from([10**4000, "\ud800" * 3000, "😀" * 3000])
            # hypothesis cannot print such a number.
            | st.none().map(lambda _: 10**5000),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=4,
        ),
        max_size=6,
    ),
    st.integers(2, 40),
)
@settings(max_examples=60, deadline=None)
def test_fit_never_exceeds_the_limit(result: dict[str, Any], limit_kb: int) -> None:
    sent = fit({**result, "st2": LINK}, limit_kb)
    assert _mistrals_size_kb(sent) <= limit_kb
    assert sent["st2"].items() >= LINK.items()
    json.dumps(sent, allow_nan=False, ensure_ascii=False).encode()


def test_fit_does_not_change_its_input() -> None:
    result = {**task_result(CHILD), "stdout": "z" * 9_000}
    before = json.dumps(result)
    fit(result, 2)
    assert json.dumps(result) == before


@pytest.mark.parametrize("output", [None, "text", 5, [1], {"a": 1}])
def test_parent_result_is_an_object_for_any_output(output: Any) -> None:
    ids = MistralIds("mistral", workflow_execution_id="w", workflow_name="wf")
    assert parent_result(output, "SUCCESS", ids) == {
        "output": output,
        "state": "SUCCESS",
        "mistral": {"site": "mistral", "workflow_execution_id": "w", "workflow_name": "wf"},
    }


def test_parent_result_has_extra_keys() -> None:
    result = parent_result(None, "ERROR", MistralIds("m"), extra={"state_info": "why"})
    assert result["mistral"] == {"site": "m", "state_info": "why"}


@pytest.mark.parametrize("output", ["x" * 17_000_000, ["é"] * 100_000, {"a": None}])
def test_parent_result_is_truncated_to_its_beginning(output: Any) -> None:
    report = parent_result(output, "ERROR", MistralIds("m", action_execution_id="a"))
    truncated = truncate_parent_result(report)
    assert len(json.dumps(truncated)) < 2000
    assert truncated["output"].startswith(json.dumps(output)[:512])
    assert truncated["state"] == "ERROR"
    assert truncated["mistral"]["truncated"]["size_bytes"] == len(json.dumps(output))
    assert "action execution a." in truncated["mistral"]["truncated"]["message"]
    assert "truncated" not in report["mistral"]


OUTPUT = {"greeting": "Hi", "tasks": "of the author"}


def report_with(output: Any = None, **given: Any) -> dict[str, Any]:
    ids = MistralIds("m", workflow_execution_id="w", workflow_name="wf")
    return parent_result(OUTPUT if output is None else output, "SUCCESS", ids, **given)


def test_layout_output_is_the_report_itself() -> None:
    report = report_with(tasks=[{"name": "a"}])
    assert laid_out(report, "output") == report


def test_layout_st2mistral_has_the_output_at_the_top_level() -> None:
    task = {"name": "a", "state": "SUCCESS", "result": 5, "published": {"x": 1}, "execution_id": "c"}
    assert laid_out(report_with(tasks=[task]), "st2mistral") == {
        "greeting": "Hi",
        "tasks": [
            {
                **task,
                "input": None,
                "state_info": None,
                "workflow_execution_id": "w",
                "workflow_name": "wf",
            }
        ],
        "extra": {
            "state": "SUCCESS",
            "state_info": None,
            "mistral": {"site": "m", "workflow_execution_id": "w", "workflow_name": "wf"},
        },
    }


def test_layout_st2mistral_renames_what_names_sub_workflows() -> None:
    task = {"name": "call", "workflow_execution_ids": ["s-1", "s-2"]}
    [entry] = laid_out(report_with(tasks=[task]), "st2mistral")["tasks"]
    assert entry["sub_workflow_execution_ids"] == ["s-1", "s-2"]
    assert entry["workflow_execution_id"] == "w"
    assert "workflow_execution_ids" not in entry


def test_layout_st2mistral_has_the_reason_and_no_tasks_from_a_callback() -> None:
    laid = laid_out(report_with("text", extra={"state_info": "why"}), "st2mistral")
    assert laid["result"] == "text"
    assert laid["extra"]["state_info"] == "why"
    assert "state_info" not in laid["extra"]["mistral"]
    assert "tasks" not in laid
    lost = parent_result(None, "ERROR", MistralIds("m"))
    assert laid_out(lost, "st2mistral").keys() == {"extra"}


def test_layout_st2mistral_of_a_truncated_report() -> None:
    report = truncate_parent_result(report_with({"a": "x" * 70_000}, tasks=[{"name": "a"}]))
    laid = laid_out(report, "st2mistral")
    assert laid.keys() == {"result", "extra"}
    assert len(json.dumps(laid)) < 2000
    assert "truncated" in laid["extra"]["mistral"]
