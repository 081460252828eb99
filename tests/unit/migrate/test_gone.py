"""Expressions that use what Mistral no longer has, or results that have moved."""

from __future__ import annotations

import pytest

from st2actions_mistral.migrate.gone import find_gone, find_moved_results


@pytest.mark.parametrize(
    ("expression", "is_yaql", "words"),
    [
        ("json_pp($.x)", True, None),
        ("_.x | json_pp", False, None),
        ("'{0}'.format($.x)", True, "YAQL's format() is gone"),
        ("format('{0}', $.x)", True, "YAQL's format() is gone"),
        ("$.openstack.auth_token", True, "has neither auth_token nor"),
        ("_.openstack.service_catalog", False, "has neither auth_token nor"),
        ("'{0}'.format(_.x)", False, None),
        ("$.format", True, None),
        ("'format(1)'", True, None),
        ("$.openstack.project_id", True, None),
        ("my_format($.x)", True, None),
    ],
)
def test_find_gone(expression: str, is_yaql: bool, words: str | None) -> None:
    found = find_gone(expression, is_yaql=is_yaql)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


@pytest.mark.parametrize(
    ("expression", "key"),
    [
        ("task(ask).result.greeting", "greeting"),
        ("task('ask').result.greeting + 1", "greeting"),
        ('task("ask").result["greeting"]', "greeting"),
        ("task(ask).result.get(greeting, '')", "greeting"),
        ("task().result.greeting", "greeting"),
        ("task(ask).result.output.greeting", None),
        ("task(ask).result.get(output)", None),
        ("task(ask).result.tasks", None),
        ("task(ask).result", None),
        ("task(other).result.greeting", None),
    ],
)
def test_find_moved_results(expression: str, key: str | None) -> None:
    found = find_moved_results(expression, {"ask"}, "ask")
    if key is None:
        assert found == []
    else:
        result = f"{expression.partition('.result')[0]}.result"
        assert found == [f"ask calls a mistral-v2 action: {key} is in {result}.output"]
