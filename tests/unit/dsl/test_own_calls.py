"""What is wrong with calls of ``st2.callback`` and of workflows."""

from __future__ import annotations

import pytest
from support.catalogue import Catalogue

from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.wrapping import wrap

BOOK = """
version: '2.0'
name: tests.book
workflows:
  main:
    tasks:
      call: %s
  sub:
    input: [a, b: 1]
    tasks: {one: {action: std.noop}}
"""


def problems(task: str) -> str:
    _, found = wrap(Definition.parse(BOOK % task, "book.yaml"), Catalogue())
    return "\n".join(found)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("{action: st2.callback}", "st2.callback needs a state: SUCCESS"),
        ("{action: st2.callback, input: {result: 1}}", "st2.callback needs a state"),
        ("{action: st2.callback state='DONE'}", "state: 'DONE' is not a final state. Use SUCCESS"),
        ("{action: st2.callback, input: {state: null}}", "state: None is not a final state"),
        (
            "{action: st2.callback state='ERROR' output='x'}",
            "st2.callback has no input output. It takes: state",
        ),
        ("{action: st2.callback state=SUCCESS}", "Mistral passes over state="),
        ("{workflow: sub}", "the workflow sub needs a."),
        ("{workflow: sub b=2}", "the workflow sub needs a."),
        ("{workflow: sub, input: {a: 1, c: 2}}", "the workflow sub has no input c. It takes: a, b."),
        ("{workflow: tests.book.sub, input: {b: 1}}", "the workflow tests.book.sub needs a."),
    ],
)
def test_what_is_wrong_is_told_with_its_place(task: str, words: str) -> None:
    assert f"workflow tests.book.main, task call: {words}" in problems(task)


@pytest.mark.parametrize(
    "task",
    [
        "{action: st2.callback state='succeeded' result=<% $.x %>}",
        "{action: st2.callback, input: {state: <% $.state %>}}",
        "{action: st2.callback, input: <% $.all %>}",
        "{workflow: sub a=1}",
        "{workflow: sub, input: {a: <% $.x %>, b: 2, task_name: one, env: {}}}",
        "{workflow: sub, input: <% $.all %>}",
        "{workflow: '<% $.which %>'}",
        # Mistral has it; which inputs it takes is not looked at.
        "{workflow: other.flow x=1}",
        "{workflow: [a]}",
    ],
)
def test_what_is_right_or_cannot_be_known(task: str) -> None:
    assert problems(task) == ""
