from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.migrate.yaml_edit import YamlEdit


def value_of(edit: YamlEdit, key: str) -> Any:
    return next(value for name, value in edit.root.value if name.value == key)


def test_text_without_edits_is_not_changed() -> None:
    text = "a:   1 # why\n"
    assert YamlEdit(text).finish() == (text, True)


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a: old  # why\nb: 1\n", "a: new  # why\nb: 1\n"),
        ("a: 'old'\n", "a: 'new'\n"),
        ('{a: "old"}\n', '{a: "new"}\n'),
    ],
)
def test_set_keeps_quotes_and_comments(text: str, new: str) -> None:
    edit = YamlEdit(text)
    edit.set(value_of(edit, "a"), "new")
    assert edit.finish() == (new, True)


@pytest.mark.parametrize(
    ("value", "written"), [("a: b", "'a: b'"), ("it's", "it's"), ("a\nb", r'"a\nb"'), ("'", "''''")]
)
def test_set_adds_quotes_if_the_value_needs_them(value: str, written: str) -> None:
    edit = YamlEdit("a: old\n")
    edit.set(value_of(edit, "a"), value)
    assert edit.finish() == (f"a: {written}\n", True)


def test_set_changes_parts_of_a_block() -> None:
    edit = YamlEdit("a: |\n  one x\n  two x\n")
    edit.set(value_of(edit, "a"), "one y\ntwo z\n", [("x", "y"), ("x", "z")])
    assert edit.finish() == ("a: |\n  one y\n  two z\n", True)


def test_hoist_moves_a_mapping_up() -> None:
    edit = YamlEdit("a:\n  # why\n  b: 1\n  c:\n    - 2\nd: 3\n")
    edit.hoist(edit.root, 0)
    assert edit.finish() == ("# why\nb: 1\nc:\n  - 2\nd: 3\n", True)


def test_drop_removes_a_pair_and_its_line() -> None:
    edit = YamlEdit("a: 1\nb: 2\nc: 3\n")
    edit.drop(edit.root, 1)
    assert edit.finish() == ("a: 1\nc: 3\n", True)


def test_finish_writes_the_text_again_if_a_comment_would_be_lost() -> None:
    edit = YamlEdit("{a: 1, # why\n b: 2}\n")
    edit.drop(edit.root, 0)
    assert edit.finish() == ("b: 2\n", False)
