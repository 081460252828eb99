from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.runner.checks import check
from st2actions_mistral.runner.request import Request

WORKBOOK = """
version: '2.0'
name: pack.name
workflows:
  main:
    input: [a, b: 1]
    tasks:
      one: {action: std.noop}
  back:
    type: reverse
    tasks:
      two: {action: std.noop, requires: [three]}
      three: {action: core.local cmd="date"}
"""


class Known:
    def parameters(self, ref: str) -> Mapping[str, Mapping[str, Any]] | None:
        return {"cmd": {"type": "string", "required": True}} if ref == "core.local" else None

    def in_mistral(self, name: str) -> bool:
        return name.startswith("std.")

    def workflow_in_mistral(self, name: str) -> bool:
        return False


def asked(**given: Any) -> Request:
    return Request("e", "pack.name", Path("w.yaml"), **{"workflow": "main", **given})


def test_it_may_start() -> None:
    ready = check(asked(inputs={"a": None, "b": None, "more": None}), WORKBOOK, Known())
    assert ready.workflow == "pack.name.main"
    # What is not given and has a default of its own keeps it.
    assert ready.inputs == {"a": None}
    assert ready.task_name is None


def test_a_reverse_workflow_may_start() -> None:
    ready = check(asked(workflow="back", task_name="two"), WORKBOOK, Known())
    assert (ready.workflow, ready.task_name) == ("pack.name.back", "two")
    three = ready.definition.workflows["pack.name.back"]["tasks"]["three"]
    assert three["input"]["ref"] == "core.local"


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = WORKBOOK.replace("one: {action: std.noop}", "one: {action: core.local}")
    with pytest.raises(InputError) as caught:
        check(asked(inputs={"c": 1}, task_name="one", skip_notify=["nope"]), text, Known())
    told = str(caught.value)
    assert "has no input 'c'. Its inputs: a, b." in told
    assert "wants the input 'a'" in told
    assert "is no reverse workflow" in told
    assert "skip_notify: pack.name has no task 'nope'" in told
    assert "cmd" in told
    assert "one" in told


@pytest.mark.parametrize(
    ("task_name", "words"),
    [(None, "say which task it is to reach: two, three"), ("four", "has no task 'four': two, three")],
)
def test_a_reverse_workflow_needs_a_task(task_name: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(asked(workflow="back", task_name=task_name), WORKBOOK, Known())


def test_the_name_is_the_actions() -> None:
    with pytest.raises(InputError, match=r"workbook is named 'other', and must be named .* pack\.name"):
        check(asked(), WORKBOOK.replace("pack.name", "other"), Known())
