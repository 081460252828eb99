from __future__ import annotations

import pytest

from st2actions_mistral.dsl.definition import Definition, Kind, inputs_of, is_reverse, tasks_of
from st2actions_mistral.errors import InputError

WORKBOOK = """
version: '2.0'
name: pack.name
workflows:
  main: {input: [a, b: 1, c: null], tasks: {one: {action: std.noop}}}
  other: {type: reverse, tasks: {two: {action: std.noop, requires: [one]}}}
actions:
  say: {base: std.echo}
"""
WORKFLOW = "version: '2.0'\npack.name:\n  tasks: {one: {action: std.noop}}\n"


def test_parse_a_workbook() -> None:
    found = Definition.parse(WORKBOOK, "w.yaml")
    assert (found.kind, found.name, found.text) == (Kind.WORKBOOK, "pack.name", WORKBOOK)
    assert list(found.workflows) == ["pack.name.main", "pack.name.other"]
    assert list(found.actions) == ["say"]
    main, other = found.workflows.values()
    assert inputs_of(main) == {"a": True, "b": False, "c": False}
    assert inputs_of(other) == {}
    assert (is_reverse(main), is_reverse(other)) == (False, True)
    assert list(tasks_of(main)) == ["one"]


def test_parse_a_workflow() -> None:
    found = Definition.parse(WORKFLOW, "w.yaml")
    assert (found.kind, found.name) == (Kind.WORKFLOW, "pack.name")
    assert list(found.workflows) == ["pack.name"]
    assert found.entry(None) == "pack.name"


def test_version_of_a_workflow_may_be_a_number() -> None:
    found = Definition.parse(WORKFLOW.replace("'2.0'", "2.0"), "w.yaml")
    assert found.name == "pack.name"


@pytest.mark.parametrize("wanted", ["main", "pack.name.main"])
def test_entry_accepts_the_full_and_the_short_name(wanted: str) -> None:
    assert Definition.parse(WORKBOOK, "w.yaml").entry(wanted) == "pack.name.main"


def test_entry_requires_a_name_if_there_are_several_workflows() -> None:
    found = Definition.parse(WORKBOOK, "w.yaml")
    with pytest.raises(InputError, match=r"name the workflow .*pack\.name\.main, pack\.name\.other"):
        found.entry(None)
    with pytest.raises(InputError, match=r"no workflow 'third'.*pack\.name\.main"):
        found.entry("third")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b\n  c: d", r"w\.yaml: is not valid YAML: line 2"),
        ("- a", "no workbook and no workflow"),
        ("", "no workbook and no workflow"),
        ("name: a\nworkflows: {}", "version must be '2.0', not None"),
        ("version: '1.0'\nworkflows: {}", "not '1.0'"),
        ("version: 2.0\nname: a.b\nworkflows: {}", "must be '2.0', in quotes. Here it is a number"),
        ("name: a\nrunner_type: mistral-v2\nentry_point: b.yaml", "metadata .* workbook is in b.yaml"),
        ("name: a\nrunner_type: mistral-v2", "metadata .* workbook is in another file"),
        ("version: '2.0'\nworkflows: {}", "has no name"),
        ("version: '2.0'", "exactly one workflow. Found: none"),
        ("version: '2.0'\n1: {}", "the name 1 is not text: put it in quotes"),
        ("version: '2.0'\na: {}\nb: {}", "exactly one workflow. Found: a, b"),
    ],
)
def test_parse_rejects_other_files(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Definition.parse(text, "w.yaml")


@pytest.mark.parametrize("section", ["null", "[]", "text", "{main: null}", "{main: [a]}"])
def test_invalid_sections_have_no_workflows_actions_tasks_and_inputs(section: str) -> None:
    found = Definition.parse(
        f"version: '2.0'\nname: a.b\nworkflows: {section}\nactions: {section}", "w.yaml"
    )
    assert found.workflows == {}
    assert found.actions == {}
    with pytest.raises(InputError, match="It has: none"):
        found.entry(None)
    assert tasks_of({"tasks": section}) == {}
    assert inputs_of({"input": section}) == {}
