from __future__ import annotations

import pytest

from st2actions_mistral.migrate.outdated import find_outdated


@pytest.mark.parametrize(
    ("expression", "messages"),
    [
        ("$.list[$.a = 1]", ["replace the condition between [ and ] with .where(…)"]),
        ("$.x.length() + $.y.length()", ["replace .length() with .len()"]),
        ("$.__env.a", ["replace $.__env with env()"]),
        ("$.other", ["replace $.other, the result of a task, with task('other').result"]),
        # These are valid today.
        ("$.list[1]", []),
        ("$.list.where($.other = 1)", []),
        ("'$.other'", []),
        ("'$.list[$.a = 1] without an end", []),
    ],
)
def test_find_outdated(expression: str, messages: list[str]) -> None:
    assert find_outdated(expression, {"other"}) == messages
