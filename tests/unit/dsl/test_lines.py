from __future__ import annotations

import pytest

from st2actions_mistral.dsl.lines import line_of, lines_of_scalars

TEXT = """\
version: '2.0'
name: book
workflows:
  main:
    tasks: {one: {action: std.noop},
            two: {action: std.noop}}
  "quoted":
    tasks:
      one:
        action: &x
        on-success: [one, ? *y]
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("workflows", "main", "tasks", "two"), 6),
        (("workflows", "quoted", "tasks", "one"), 9),
        # The last key that exists.
        (("workflows", "main", "tasks", "three"), 5),
        (("workflows", "main", "tasks", "one", "action", "more"), 5),
        (("nowhere", "main"), None),
        ((), None),
    ],
)
def test_line_of_returns_the_line_of_the_last_known_key(
    path: tuple[str, ...], line: int | None
) -> None:
    assert line_of(TEXT, path) == line


def test_lines_of_scalars_lists_keys_and_values() -> None:
    lines = lines_of_scalars(TEXT)
    assert lines["std.noop"] == [5, 6]
    assert lines["quoted"] == [7]
    # Mistral reads anchors as text.
    assert lines["&x"] == [10]
    assert lines_of_scalars("") == {}
