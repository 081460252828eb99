from __future__ import annotations

import pytest

from st2actions_mistral.dsl.complaint import complaint, read

TEXT = """version: '2.0'
# nope is not here
a.b:
  tasks:
    one:  # nope
      actoin: std.noop
      on-success: nope
"""


def test_the_line_of_what_is_named_is_told_and_the_schema_is_not() -> None:
    words = (
        "Invalid DSL: Additional properties are not allowed ('actoin' was unexpected)\n\n"
        "Failed validating 'additionalProperties' in schema:\n {'type': 'object'"
    )
    assert complaint(words, TEXT) == (
        "line 6: Invalid DSL: Additional properties are not allowed ('actoin' was unexpected)"
    )


def test_a_comment_is_no_place() -> None:
    assert complaint("Task 'nope' not found.", TEXT) == "line 7: Task 'nope' not found."


def test_the_beginning_of_an_answer_that_was_too_long() -> None:
    words = "{\"faultstring\": \"Invalid DSL: 'actoin' was unexpected\\n\\nFailed validating 'x"
    assert complaint(words, TEXT) == "line 6: Invalid DSL: 'actoin' was unexpected"


def test_what_names_nothing_has_no_line() -> None:
    assert complaint("Parse error: unexpected end of statement", TEXT) == (
        "Parse error: unexpected end of statement"
    )
    assert complaint("Task 'elsewhere' not found.", TEXT) == "Task 'elsewhere' not found."


TWO = """version: '2.0'
name: w
workflows:
  first:
    tasks: {a: {action: std.noop, retry: x}}
  second:
    output: {x: 1}
  third:
    tasks: {join: {join: 3, on-success: [b]}, c: null, on-success: b}
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        # What is missed in one workflow stands in another.
        ("'tasks' is a required property\n\nOn instance:\n {'output': 1, 'name': 'second'}", 6),
        ("None is not of type 'object'\n\nOn instance['tasks']['c']:\n    None", 9),
        ("Not enough inbound tasks for task with 'join' [task_name=a, join=3]", 5),
        # More than once: the first, unless something else is named that there is only once.
        ("Task 'b' not found.", 9),
        ("'x' is not valid\n\nOn instance:\n {'retry': 'x', 'name': 'a'}", 5),
    ],
)
def test_where_it_looked_when_it_found_something(words: str, line: int) -> None:
    assert read(words, TWO)[0] == line


def test_long_words_are_cut_and_put_on_one_line() -> None:
    line, short = read("Parse\n  error: " + "x" * 1000, TEXT)
    assert line is None
    assert short.startswith("Parse error: xxx")
    assert len(short) < 410
