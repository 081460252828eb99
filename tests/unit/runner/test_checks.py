from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.model.st2_action import St2Action
from st2actions_mistral.runner.checks import check
from st2actions_mistral.runner.request import WorkflowRequest

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
    def action(self, ref: str) -> St2Action | None:
        cmd = {"type": "string", "required": True}
        return St2Action({"cmd": cmd}) if ref == "core.local" else None

    def in_mistral(self, name: str) -> bool:
        return name.startswith("std.")

    def is_native(self, name: str) -> bool:
        return False

    def workflow_in_mistral(self, name: str) -> bool:
        return False

    def allows_yaql(self) -> bool:
        return True


def request(**given: Any) -> WorkflowRequest:
    return WorkflowRequest("e", "pack.name", Path("w.yaml"), **{"workflow": "main", **given})


def test_check_returns_a_ready_workflow() -> None:
    ready = check(request(inputs={"a": None, "b": None, "more": None}), WORKBOOK, Known())
    assert ready.workflow == "pack.name.main"
    # A missing input with a default is omitted, so that the default counts.
    assert ready.inputs == {"a": None}
    assert ready.task_name is None


def test_check_reports_a_text_for_items() -> None:
    text = WORKBOOK.replace("std.noop}", "std.noop, with-items: i in <% $.a %>}", 1)
    assert check(request(inputs={"a": ["x"]}), text, Known()).inputs == {"a": ["x"]}
    problem = "line 8: workflow pack.name.main, task one: Wrong input format: with-items needs a list"
    with pytest.raises(InputError, match=problem):
        check(request(inputs={"a": "xyz"}), text, Known())


def test_check_reports_misspelt_functions_only() -> None:
    def published(expression: str) -> str:
        return WORKBOOK.replace("std.noop}", f'std.noop, publish: {{x: "{expression}"}}}}', 1)

    given = request(inputs={"a": 1})
    reason = (
        "line 8: workflow pack.name.main, task one: YAQL has no function json_dumps. Did you mean js"
    )
    with pytest.raises(InputError, match=reason):
        check(given, published("<% json_dumps($.a) %>"), Known())
    assert check(given, published("<% json_dumps($.a) %>"), Known(), ["json_dumps"])
    assert check(given, published("<% our_company($.a) %>"), Known())


def test_check_accepts_a_key_that_stackstorm_resolves() -> None:
    key = "{{ st2kv.system.x | decrypt_kv }}"
    text = WORKBOOK.replace('core.local cmd="date"', f"core.local, input: {{cmd: '{key}'}}")
    ready = check(request(workflow="back", task_name="two"), text, Known())
    three = ready.definition.workflows["pack.name.back"]["tasks"]["three"]
    assert three["input"]["render_jinja"] == ["cmd"]
    published = WORKBOOK.replace("std.noop}", f"std.noop, publish: {{x: '{key}'}}}}", 1)
    with pytest.raises(InputError, match=r"line 8: .*works only in a parameter of a StackStorm action"):
        check(request(inputs={"a": 1}), published, Known())


def test_check_accepts_a_reverse_workflow() -> None:
    ready = check(request(workflow="back", task_name="two"), WORKBOOK, Known())
    assert (ready.workflow, ready.task_name) == ("pack.name.back", "two")
    three = ready.definition.workflows["pack.name.back"]["tasks"]["three"]
    assert three["input"]["ref"] == "core.local"


def test_check_reports_all_problems_at_once() -> None:
    text = WORKBOOK.replace("one: {action: std.noop}", "one: {action: core.local}")
    with pytest.raises(InputError) as caught:
        check(request(inputs={"c": 1}, task_name="one", skip_notify=["nope"]), text, Known())
    told = str(caught.value)
    assert "has no input 'c'. Its inputs: a, b." in told
    assert "requires the input 'a'" in told
    assert "is not a reverse workflow" in told
    assert "skip_notify: pack.name has no task 'nope'" in told
    assert "cmd" in told
    assert "one" in told


@pytest.mark.parametrize(
    ("task_name", "words"),
    [
        (None, "name its target task, one of: two, three"),
        ("four", "has no task 'four'. Its tasks: two, three"),
    ],
)
def test_a_reverse_workflow_requires_a_known_task(task_name: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(request(workflow="back", task_name=task_name), WORKBOOK, Known())


def test_the_definition_must_have_the_name_of_the_action() -> None:
    with pytest.raises(InputError, match=r"workbook is named 'other'\. It must have .* pack\.name"):
        check(request(), WORKBOOK.replace("pack.name", "other"), Known())
