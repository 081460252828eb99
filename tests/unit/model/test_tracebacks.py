"""Tracebacks of Mistral are removed from whatever text they are in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from st2actions_mistral.model.tracebacks import without_tracebacks

REASON = "Failed to run task [error=Can not evaluate YAQL expression [expression=$.x.y], task=c]"
# Of Mistral 23.0.0, shortened.
TRACEBACK = """\
Traceback (most recent call last):
  File "/opt/mistral/lib/python3.11/site-packages/mistral/expressions/yaql_expression.py", line 158, in evaluate
    result = get_yaql_engine_class()(expression).evaluate(
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/opt/mistral/lib/python3.11/site-packages/yaql/language/expressions.py", line 159, in evaluate
    return self(utils.NO_VALUE, context, self.engine)
KeyError: 'nokey'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/opt/mistral/lib/python3.11/site-packages/mistral/engine/task_handler.py", line 83, in run_task
    task.run(first_run)
mistral.exceptions.YaqlEvaluationException: Can not evaluate YAQL expression [expression=
  $.x.y]
"""  # noqa: E501 - as Mistral writes it
FAILED = f"{REASON}:\n{TRACEBACK}"

OF_AN_ACTION = """\
Traceback (most recent call last):
  File "/opt/stackstorm/packs/mistral/actions/check.py", line 5, in run
    return 1 / 0
ZeroDivisionError: division by zero
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (REASON, REASON),
        (FAILED, REASON),
        (TRACEBACK, ""),
        # The result of a task that called a sub-workflow, and of one that did so with items.
        ({"result": FAILED}, {"result": REASON}),
        ([{"result": FAILED}, None, FAILED], [{"result": REASON}, None, REASON]),
        ({"a": [{"b": {"c": FAILED}}], "n": 1}, {"a": [{"b": {"c": REASON}}], "n": 1}),
        # A text made of such a result: by YAQL's str() or json_dump(), or by std.fail.
        (str({"result": FAILED, "n": 1}), str({"result": REASON + "\n", "n": 1})),
        (json.dumps({"result": FAILED}), json.dumps({"result": REASON + "\n"})),
        (json.dumps([json.dumps(FAILED)]), json.dumps([json.dumps(REASON + "\n")])),
        (OF_AN_ACTION, OF_AN_ACTION),
        ({"stderr": OF_AN_ACTION}, {"stderr": OF_AN_ACTION}),
        (5, 5),
        (None, None),
    ],
)
def test_tracebacks_of_mistral_are_removed(value: Any, expected: Any) -> None:
    found = without_tracebacks(value)
    assert found == expected
    assert without_tracebacks(found) == found


def test_the_reason_of_each_task_stays() -> None:
    info = (
        "Failure caused by error in tasks: a, b\n\n"
        f"  a [task_ex_id=1] -> {FAILED}\n"
        f"    [wf_ex_id=2, idx=0]: {FAILED}\n"
        "  b [task_ex_id=3] -> another reason\n"
    )
    for text, end in ((info, "\n"), (str([info]), r"\n")):
        found = without_tracebacks(text)
        assert "Traceback" not in found
        assert "site-packages" not in found
        assert found.count(REASON) == 2
        assert f"b [task_ex_id=3] -> another reason{end}" in found


def test_deeply_nested_values_do_not_exhaust_the_stack() -> None:
    deep: Any = FAILED
    for _ in range(900):
        deep = [deep]
    assert without_tracebacks(deep)
