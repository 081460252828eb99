from __future__ import annotations

import pytest

from st2actions_mistral.dsl.messages import locate, summarize

TEXT = """version: '2.0'
# nope is not here
a.b:
  tasks:
    one:  # nope
      actoin: std.noop
      on-success: nope
"""


def test_summary_has_the_line_of_the_named_key_and_no_schema() -> None:
    words = (
        "Invalid DSL: Additional properties are not allowed ('actoin' was unexpected)\n\n"
        "Failed validating 'additionalProperties' in schema:\n {'type': 'object'"
    )
    assert summarize(words, TEXT) == (
        "line 6: Invalid DSL: Additional properties are not allowed ('actoin' was unexpected)"
    )


def test_names_in_comments_are_not_places() -> None:
    assert summarize("Task 'nope' not found.", TEXT) == "line 7: Task 'nope' not found."


def test_summary_of_a_truncated_json_answer() -> None:
    words = "{\"faultstring\": \"Invalid DSL: 'actoin' was unexpected\\n\\nFailed validating 'x"
    assert summarize(words, TEXT) == "line 6: Invalid DSL: 'actoin' was unexpected"


def test_message_that_names_nothing_in_the_text_has_no_line() -> None:
    assert summarize("Parse error: unexpected end of statement", TEXT) == (
        "Parse error: unexpected end of statement"
    )
    assert summarize("Task 'elsewhere' not found.", TEXT) == "Task 'elsewhere' not found."


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
        # The missing key of one workflow is present in another.
        ("'tasks' is a required property\n\nOn instance:\n {'output': 1, 'name': 'second'}", 6),
        ("None is not of type 'object'\n\nOn instance['tasks']['c']:\n    None", 9),
        ("Not enough inbound tasks for task with 'join' [task_name=a, join=3]", 5),
        # Several places: the first, unless the message names something that the text has only once.
        ("Task 'b' not found.", 9),
        ("'x' is not valid\n\nOn instance:\n {'retry': 'x', 'name': 'a'}", 5),
    ],
)
def test_line_of_the_object_that_mistral_checked(words: str, line: int) -> None:
    assert locate(words, TWO)[0] == line


def test_long_message_is_truncated_to_one_line() -> None:
    line, short = locate("Parse\n  error: " + "x" * 1000, TEXT)
    assert line is None
    assert short.startswith("Parse error: xxx")
    assert len(short) < 410
