from __future__ import annotations

import pytest
from support.catalogue import Catalogue

from st2actions_mistral.dsl.calls import ActionCall, Site, Target, WorkflowCall, find_sites
from st2actions_mistral.dsl.definition import Definition

BOOK = """
version: '2.0'
name: tests.book
actions:
  shell: {base: core.local}
  tests.odd: {base: std.noop}
  2: [invalid]
workflows:
  main:
    tasks:
      one: {action: std.noop}
      3: {workflow: sub}
      none: null
  sub: {tasks: [invalid]}
"""
DEFINITION = Definition.parse(BOOK, "book.yaml")


def site(spec: dict[str, object], task: str | None = "one") -> Site:
    return Site(("one",), "task one", spec, task)


def test_find_sites_of_a_workbook_in_the_order_of_the_file() -> None:
    assert [(found.path, found.place, found.task) for found in find_sites(DEFINITION)] == [
        (("actions", "shell"), "action shell", None),
        (("actions", "tests.odd"), "action tests.odd", None),
        (("workflows", "main", "tasks", "one"), "workflow tests.book.main, task one", "one"),
        (("workflows", "main", "tasks", "3"), "workflow tests.book.main, task 3", "3"),
    ]


def test_find_sites_of_a_workflow() -> None:
    workflow = Definition.parse("version: '2.0'\nmain: {tasks: {say: {action: core.noop}}}", "f")
    (found,) = find_sites(workflow)
    assert (found.keys, found.place) == (("main", "tasks", "say"), "workflow main, task say")


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("<% $.action %> x=1", Target.EXPRESSION),
        ("st2.action ref='core.local'", Target.ST2_ACTION),
        ("st2.callback state='SUCCESS'", Target.ST2_CALLBACK),
        ("shell", Target.MISTRAL),
        ("tests.book.shell", Target.MISTRAL),
        ("tests.odd", Target.MISTRAL),
        # Both systems have one. Mistral's own comes first.
        ("std.echo output='x'", Target.MISTRAL),
        ("core.local cmd='date'", Target.STACKSTORM),
        ("core.lokal cmd='date'", Target.UNKNOWN),
        ("nosuch", Target.UNKNOWN),
    ],
)
def test_target_of_an_action_call(line: str, target: Target) -> None:
    assert ActionCall.at(site({"action": line})).target(DEFINITION, Catalogue()) is target


def test_native_action_is_one_of_stackstorm() -> None:
    catalogue = Catalogue()
    catalogue.native = {"core.local"}
    target = ActionCall.at(site({"action": "core.local cmd='date'"})).target(DEFINITION, catalogue)
    assert target is Target.STACKSTORM


def test_stackstorm_is_asked_only_for_names_that_it_may_have() -> None:
    catalogue = Catalogue()
    for line in ("std.echo output='hello'", "nosuch", "<% $.a %>"):
        ActionCall.at(site({"action": line})).target(DEFINITION, catalogue)
    assert catalogue.asked == []


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ({"action": "a.b"}, {}),
        # The line wins.
        ({"action": "a.b x=1", "input": {"x": 2, "y": 3}}, {"x": 1, "y": 3}),
        ({"action": "a.b", "input": "<% $.all %>"}, "<% $.all %>"),
        ({"action": "a.b x=1", "input": "<% $.all %>"}, None),
        ({"action": "a.b", "input": "x=1"}, None),
        ({"action": "a.b", "input": [1]}, None),
    ],
)
def test_input_of_an_action_call(spec: dict[str, object], given: object) -> None:
    assert ActionCall.at(site(spec)).given == given


def test_workflow_call_finds_the_workflow_in_the_same_file() -> None:
    for name in ("sub", "tests.book.sub"):
        call = WorkflowCall.at(site({"workflow": f"{name} x=1", "input": {"y": 2}}), DEFINITION)
        assert call == WorkflowCall(name, {"tasks": ["invalid"]}, {"x": 1, "y": 2})
    assert WorkflowCall.at(site({"workflow": "other"}), DEFINITION) == WorkflowCall("other", None, {})


@pytest.mark.parametrize(
    "found", [site({"workflow": "sub"}, None), site({"workflow": "sub", "action": "a.b"}), site({})]
)
def test_site_without_a_workflow_call(found: Site) -> None:
    assert WorkflowCall.at(found, DEFINITION) is None
