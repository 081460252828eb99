from __future__ import annotations

from collections.abc import Sequence

import pytest

from st2actions_mistral.migrate.translate import Start, UnreadableError, translate


def resolve(names: Sequence[str]) -> Start:
    """Resolve ``$.first`` to ``<first>``, with a doubt for ``$.odd``."""
    if not names:
        return Start("<all>")
    return Start(f"<{names[0]}>", "odd" if names[0] == "odd" else None)


@pytest.mark.parametrize(
    ("expression", "translated"),
    [
        (" $.x.y ", "<x>.y"),
        ("$", "<all>"),
        ("$.x + $.y*2", "<x> + <y>*2"),
        ("not ($.x = 'a b')", "not (<x> = 'a b')"),
        ("$.x.length()", "<x>.len()"),
        ("$.list[$.a = 1].b[0]", "<list>.where($.a = 1).b.toList()[0]"),
        ("$.list[-1]", "<list>[-1]"),
        ("$.x.__b", "<x>.get('__b')"),
    ],
)
def test_translate(expression: str, translated: str) -> None:
    assert translate(expression, resolve) == (translated, [])


def test_translate_collects_each_doubt_once() -> None:
    assert translate("$.odd + $.odd.sum()", resolve).doubts == [
        "odd",
        "check that today's YAQL has the function sum()",
    ]


def test_a_start_may_replace_several_names() -> None:
    assert translate("$.a.b.c", lambda names: Start("<ab>", names=2)).text == "<ab>.c"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("$. x", "a name is missing after a dot"),
        ("$.x and", "ends unexpectedly"),
        ("$.x pay", "stopped at 'pay'"),
        ("$.x ~ 1", "stopped at '~ 1'"),
        ("($.x", r"\) is missing"),
        ("$.x[]", "the index between"),
        ("$[" * 3000, "nested too deeply"),
    ],
)
def test_translate_rejects_text_that_is_not_an_expression(expression: str, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        translate(expression, resolve)
