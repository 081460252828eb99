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


def test_a_workbook() -> None:
    found = Definition.parse(WORKBOOK, "w.yaml")
    assert (found.kind, found.name, found.text) == (Kind.WORKBOOK, "pack.name", WORKBOOK)
    assert list(found.workflows) == ["pack.name.main", "pack.name.other"]
    assert list(found.actions) == ["say"]
    main, other = found.workflows.values()
    assert inputs_of(main) == {"a": True, "b": False, "c": False}
    assert inputs_of(other) == {}
    assert (is_reverse(main), is_reverse(other)) == (False, True)
    assert list(tasks_of(main)) == ["one"]


def test_a_workflow() -> None:
    found = Definition.parse(WORKFLOW, "w.yaml")
    assert (found.kind, found.name) == (Kind.WORKFLOW, "pack.name")
    assert list(found.workflows) == ["pack.name"]
    assert found.entry(None) == "pack.name"


def test_a_workflow_may_have_a_number_for_its_version() -> None:
    found = Definition.parse(WORKFLOW.replace("'2.0'", "2.0"), "w.yaml")
    assert found.name == "pack.name"


@pytest.mark.parametrize("wanted", ["main", "pack.name.main"])
def test_a_workflow_is_named_in_full_or_short(wanted: str) -> None:
    assert Definition.parse(WORKBOOK, "w.yaml").entry(wanted) == "pack.name.main"


def test_of_several_workflows_one_has_to_be_named() -> None:
    found = Definition.parse(WORKBOOK, "w.yaml")
    with pytest.raises(InputError, match=r"which workflow .*pack\.name\.main, pack\.name\.other"):
        found.entry(None)
    with pytest.raises(InputError, match=r"no workflow 'third'.*pack\.name\.main"):
        found.entry("third")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b\n  c: d", r"w\.yaml: is no YAML: line 2"),
        ("- a", "no workbook and no workflow"),
        ("", "no workbook and no workflow"),
        ("name: a\nworkflows: {}", "version must be '2.0', not None"),
        ("version: '1.0'\nworkflows: {}", "not '1.0'"),
        ("version: 2.0\nname: a.b\nworkflows: {}", "must be '2.0', in quotes: this one is a number"),
        ("name: a\nrunner_type: mistral-v2\nentry_point: b.yaml", "metadata .* workbook is b.yaml"),
        ("name: a\nrunner_type: mistral-v2", "metadata .* workbook is another file"),
        ("version: '2.0'\nworkflows: {}", "needs a name"),
        ("version: '2.0'", "exactly one workflow, not: none"),
        ("version: '2.0'\na: {}\nb: {}", "exactly one workflow, not: a, b"),
        ("a: \x00", "is no YAML"),
        ("a: " + "[" * 5000, "is no YAML"),
        ("a: 2026-99-99", "is no YAML: line 1, column 4: cannot be read as timestamp"),
        ("a:\n  b: !!bool maybe", "is no YAML: line 2, column 6: cannot be read as bool"),
        ("a: [!!timestamp maybe]", "is no YAML: line 1, column 5: cannot be read as timestamp"),
        ("!!int '': a", "is no YAML: line 1, column 1: cannot be read as int"),
        ("a: 1" + ":00" * 180 + ".5", "is no YAML: line 1, column 4: cannot be read as float"),
        ("version: 0x1" + "0" * 4000, "is no YAML: line 1, column 10: cannot be read as int"),
    ],
)
def test_what_is_neither(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Definition.parse(text, "w.yaml")


ANCHORS = """\
version: '2.0'
name: p.a
workflows:
  main:
    tasks:
      one: &std
        action: std.noop
      two: *std
      three:
        <<: *std
"""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            ANCHORS,
            6,
            "w.yaml: line 6: has the anchor &std, which Mistral does not read: write it out."
            " So too: *std (line 8), *std (line 10).",
        ),
        ("a:\n  <<: *b", 2, "line 2: has the alias *b, which Mistral does not read: write it out."),
        ("a:\n  <<: [*b, *c]", 2, "So too: *c (line 2)."),
        ("a: &b {c: 1}", 1, "line 1: has the anchor &b, which"),
        ("a: &b {c: 1}\nd: [" + "*b, " * 30 + "*b]", 1, "*b (line 2), …."),
        # With anchors it could not be read either.
        ("a: &b {c: 1}\nd: [", 1, "is no YAML: line 1, column 9"),
        ("a: b\n  c: &d d", 2, "is no YAML: line 2"),
        ("a: *b\n---\nc: *b", 2, "is no YAML: line 2"),
        ("a: &b c\nd: !!bool maybe", 2, "is no YAML: line 2, column 4: cannot be read as bool"),
    ],
)
def test_anchors_that_mistral_does_not_read(text: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        Definition.parse(text, "w.yaml")
    assert words in str(caught.value)
    assert caught.value.line == line


def test_what_anchors_would_come_to_does_not_matter() -> None:
    lines = ["a0: &a0 {b: c}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 200)]
    with pytest.raises(InputError, match="line 1: has the anchor &a0"):
        Definition.parse("\n".join(lines), "w.yaml")


@pytest.mark.parametrize("odd", ["null", "[]", "text", "{main: null}", "{main: [a]}"])
def test_an_odd_workbook_has_no_workflows(odd: str) -> None:
    found = Definition.parse(f"version: '2.0'\nname: a.b\nworkflows: {odd}\nactions: {odd}", "w.yaml")
    assert found.workflows == {}
    assert found.actions == {}
    with pytest.raises(InputError, match="It has: none"):
        found.entry(None)
    assert tasks_of({"tasks": odd}) == {}
    assert inputs_of({"input": odd}) == {}
