"""Find functions and values in expressions that Mistral no longer has, and results that have moved.

Such expressions are reported, not changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from st2actions_mistral.migrate.results import MISTRAL_KEYS

HIDDEN_CREDENTIALS: Final = (
    "$.openstack has neither auth_token nor service_catalog today: Mistral's actions for OpenStack need"
    " none, and a StackStorm action gets its credential from StackStorm"
)

# Strings are not searched.
_STRING: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_FORMAT: Final = re.compile(r"\bformat\s*\(")
_TOKEN: Final = re.compile(r"[$_]\s*\.\s*openstack\s*\.\s*(?:auth_token|service_catalog)\b")
_RESULT: Final = re.compile(
    r"""\btask\(\s*(?P<quote>["']?)(?P<task>[\w-]*)(?P=quote)\s*\)\s*\.\s*result\s*"""
    r"""(?:\.\s*get\(\s*["']?(?P<got>\w+)|\.\s*(?P<key>\w+)|\[\s*["'](?P<index>\w+))"""
)


def find_gone(expression: str, *, is_yaql: bool) -> list[str]:
    """Return a message for each function or value in an expression that Mistral no longer has.

    :param is_yaql: False for Jinja, which still has ``format()``.
    """
    code = _STRING.sub("''", expression)
    found = []
    if is_yaql and _FORMAT.search(code):
        found.append(
            "YAQL's format() is gone from Mistral: join the parts with +, and str() for numbers"
        )
    if _TOKEN.search(code):
        found.append(HIDDEN_CREDENTIALS)
    return found


def find_moved_results(expression: str, tasks: Collection[str], own: str | None) -> list[str]:
    """Return a message for each key that is read from the result of a ``mistral-v2`` action.

    :param tasks: the tasks that call such actions.
    :param own: the task of the expression, which ``task()`` means; None outside of tasks.
    """
    found = []
    for match in _RESULT.finditer(expression):
        task, key = match["task"] or own, match["got"] or match["key"] or match["index"]
        if task in tasks and key not in MISTRAL_KEYS:
            result = f"{match[0].partition('result')[0]}result"
            found.append(f"{task} calls a mistral-v2 action: {key} is in {result}.output")
    return list(dict.fromkeys(found))
