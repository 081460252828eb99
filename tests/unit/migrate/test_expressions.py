from __future__ import annotations

import pytest

from st2actions_mistral.migrate.expressions import find_expressions


class CountingText(str):
    """Text that counts the characters that searches for a bracket look at."""

    __slots__ = ("searched",)

    def __new__(cls, text: str) -> CountingText:
        made = super().__new__(cls, text)
        made.searched = 0
        return made

    def find(self, wanted: str, start: int = 0) -> int:
        found = super().find(wanted, start)
        self.searched += (len(self) if found < 0 else found + 1) - start
        return found

    def rfind(self, wanted: str) -> int:
        found = super().rfind(wanted)
        self.searched += len(self) - max(found, 0)
        return found


@pytest.mark.parametrize("in_line", [False, True])
@pytest.mark.parametrize(
    "hostile",
    ["{$" * 50_000, "}" + "{$." * 30_000, "{$.x}" * 20_000, "{$" * 50_000 + "}", "={$" * 30_000],
)
def test_find_expressions_searches_no_character_twice(hostile: str, in_line: bool) -> None:
    text = CountingText(hostile)
    found = list(find_expressions(text, in_line=in_line))
    # The last bracket is searched from the end, then each expression once.
    assert 0 < text.searched <= 2 * len(text)
    assert len(found) == (20_000 if hostile.startswith("{$.x}") else hostile.endswith("}"))


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ("is {$.x}, {$}", ["$.x", "$"]),
        # Up to the next bracket, as Mistral did.
        ("{$ {$.x} }", ["$ {$.x"]),
        ("{x} {$.x", []),
        ("$.x ='$.y'", []),
    ],
)
def test_find_expressions_in_a_value(text: str, expressions: list[str]) -> None:
    found = list(find_expressions(text))
    assert [one.expression for one in found] == expressions
    assert [text[one.start : one.end] for one in found] == [one.text for one in found]


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ("std.echo output=$.x b={$.y}", [("=", "", "$.x"), ("", "", "$.y")]),
        ("std.echo output='$.x y' b=\"$.z\"", [("=", "'", "$.x y"), ("=", '"', "$.z")]),
        ("std.echo output='{$.x}!'", [("", "", "$.x")]),
        ("std.echo output='$.x", []),
    ],
)
def test_find_expressions_in_a_line(text: str, expressions: list[tuple[str, str, str]]) -> None:
    found = list(find_expressions(text, in_line=True))
    assert [(one.key, one.quote, one.expression) for one in found] == expressions
    assert [text[one.start : one.end] for one in found] == [one.text for one in found]
