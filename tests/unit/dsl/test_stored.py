from __future__ import annotations

import pytest

from st2actions_mistral.dsl import stored

REVERSE = """\
short:
  type: reverse
  task-defaults: {requires: base}
  tasks:
    base: {action: std.noop}
    middle: {action: std.noop, requires: [base, other]}
    top: {action: std.noop, requires: middle}
"""


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("mine:\n  base: core.local cmd='date'\n", "core.local"),
        ("mine: {base: std.echo}", "std.echo"),
        ("mine: {base: ' '}", None),
        ("mine: {base: '=x y=1'}", None),
        ("mine: {}", None),
        ("[mine]", None),
        ("mine: [", None),
    ],
)
def test_base_of_an_ad_hoc_action(action: str, name: str | None) -> None:
    assert stored.base(action) == name


@pytest.mark.parametrize("workflow", ["short", "tests.book.short"])
def test_required_tasks_of_a_reverse_workflow(workflow: str) -> None:
    assert stored.required_tasks(REVERSE, workflow) == {
        "base": set(),
        "middle": {"base", "other"},
        "top": {"base", "middle"},
    }


@pytest.mark.parametrize(
    "text", [REVERSE.replace("reverse", "direct"), REVERSE.replace("short", "another"), "[", "- a"]
)
def test_other_workflows_have_no_required_tasks(text: str) -> None:
    assert stored.required_tasks(text, "short") == {}


def test_only_a_workflow_with_a_version_is_its_own_file() -> None:
    assert stored.is_own_file("---\nversion: '2.0'\nmain: {}\n")
    assert not stored.is_own_file("main:\n  description: 'version: 2'\n")
