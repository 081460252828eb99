"""The lines of the mistakes that Mistral itself reports, in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from mistral.exceptions import MistralException
from mistral.lang.base import instantiate_spec
from mistral.lang.v2.workbook import WorkbookSpec

from st2actions_mistral.dsl.messages import locate
from st2actions_mistral.dsl.mistral_yaml import load

CASES = Path(__file__).parents[2] / "data" / "cases"

# Each construct occurs more than once, so that a name alone does not tell the place.
TEXT = """\
version: '2.0'
name: p.a
actions:
  mine:
    base: std.noop
    input: [x]
  other:
    base: std.noop
    input: [x]
workflows:
  main:
    input: [x]
    tasks:
      a:
        action: std.noop
        publish:
          x: 1
        retry: count=1 delay=1
        timeout: 5
        on-success:
          - b
      b:
        action: std.noop
        publish: {y: 1}
        timeout: 5
        retry: {count: 1, delay: 2}
        on-success: [c]
        on-error: [c]
      c:
        action: std.noop
        publish: {y: 1}
        timeout: 5
        join: all
  second:
    input: [x]
    output: {r: 1}
    tasks:
      a:
        action: std.noop
        on-success: [b]
        publish: {y: 1}
      b:
        action: std.noop
        publish: {y: 1}
"""


def rejected(text: str) -> str:
    """Return why Mistral rejects a workbook."""
    with pytest.raises(MistralException) as caught:
        instantiate_spec(WorkbookSpec, load(text, "file"), validate=True)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "new"),
    [
        (3, "action:"),
        (8, "    base:"),
        (9, "    input:"),
        (12, "    input: x"),
        (15, "        action: 5"),
        (19, "        timeout: x"),
        (24, "        publish: [y]"),
        (24, "        pulish: {y: 1}"),
        (25, "        timeout: '5'"),
        (25, "        timeout:"),
        (26, "        retry: {count: 1}"),
        (26, "        retry: {count: 1, delay: x}"),
        (26, "        retry: {count: 1, delay: 2, y: 1}"),
        (26, "        retry:"),
        (27, "        on-success: [c: true]"),
        (28, "        on-error: [c: ]"),
        (28, "        on-error: [d]"),
        (28, "        on-error: []"),
        (28, "        on-error:"),
        (28, "        on-error: [c, c]"),
        (30, "        action:"),
        (30, "        acton: std.noop"),
        (31, "        publish:"),
        (31, "        publish: 5"),
        (31, "        publish: {}"),
        (32, "        timeout: -5"),
        (33, "        join: x"),
        (33, "        with-items: i in $.x"),
        (33, "        requires: [a]"),
        (33, "        concurrency: x"),
        (33, "        policies: {timeout: 1}"),
        (33, "        pause-before: 'yes'"),
        (33, "        target:"),
        (35, "    input: {x: 1}"),
        (36, "    output:"),
        (41, "        publish: x"),
        (44, "        publish:"),
    ],
)
def test_line_of_a_mistake(line: int, new: str) -> None:
    lines = TEXT.splitlines()
    lines[line - 1] = new
    text = "\n".join(lines)
    message = rejected(text)
    assert locate(message, text)[0] == line
    # As an error of the client has it, in one line.
    assert locate(" ".join(message.split()), text) == locate(message, text)


def test_case_wrongline() -> None:
    text = (CASES / "wrongline.yaml").read_text()
    line, short = locate(rejected(text), text)
    assert (line, text.splitlines()[13].strip()) == (14, "publish:")
    assert short == "Invalid DSL: None is not of type 'object'"
