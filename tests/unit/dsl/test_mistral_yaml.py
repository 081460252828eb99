from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistral.utils import safe_yaml

from st2actions_mistral.dsl.mistral_yaml import dump, load
from st2actions_mistral.errors import InputError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: \x00", "is not valid YAML"),
        ("a: " + "[" * 5000, "is not valid YAML"),
        ("a: 2026-99-99", "is not valid YAML: line 1, column 4: cannot be read as timestamp"),
        ("a:\n  b: !!bool maybe", "is not valid YAML: line 2, column 6: cannot be read as bool"),
        ("a: [!!timestamp maybe]", "is not valid YAML: line 1, column 5: cannot be read as timestamp"),
        ("!!int '': a", "is not valid YAML: line 1, column 1: cannot be read as int"),
        ("a: 1" + ":00" * 180 + ".5", "is not valid YAML: line 1, column 4: cannot be read as float"),
        ("version: 0x1" + "0" * 4000, "is not valid YAML: line 1, column 10: cannot be read as int"),
    ],
)
def test_load_rejects_invalid_yaml(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(text, "w.yaml")


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
            "w.yaml: line 6: Mistral does not support YAML anchors. Replace the anchor &std with the"
            " full text. Also: *std (line 8), *std (line 10).",
        ),
        ("a:\n  <<: *b", 2, "line 2: Mistral does not support YAML anchors. Replace the alias *b with"),
        ("a:\n  <<: [*b, *c]", 2, "Also: *c (line 2)."),
        ("a: &b {c: 1}", 1, "Replace the anchor &b with the full text."),
        ("a: &b {c: 1}\nd: [" + "*b, " * 30 + "*b]", 1, "*b (line 2), …."),
        # Also invalid with anchors.
        ("a: &b {c: 1}\nd: [", 1, "is not valid YAML: line 1, column 9"),
        ("a: b\n  c: &d d", 2, "is not valid YAML: line 2"),
        ("a: *b\n---\nc: *b", 2, "is not valid YAML: line 2"),
        ("a: &b c\nd: !!bool maybe", 2, "is not valid YAML: line 2, column 4: cannot be read as bool"),
    ],
)
def test_load_names_anchors_that_mistral_does_not_support(text: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(text, "w.yaml")
    assert words in str(caught.value)
    assert caught.value.line == line


def test_load_does_not_expand_anchors() -> None:
    lines = ["a0: &a0 {b: c}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 200)]
    with pytest.raises(InputError, match="Replace the anchor &a0"):
        load("\n".join(lines), "w.yaml")


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@given(VALUES)
def test_dumped_data_is_loaded_again_by_load_and_by_mistral(value: Any) -> None:
    text = dump({"top": value})
    assert load(text, "f") == {"top": value}
    assert safe_yaml.load(text) == {"top": value}
