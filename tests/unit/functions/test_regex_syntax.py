"""Patterns of ``re`` written for ``regex``."""

from __future__ import annotations

import pytest

from st2actions_mistral.functions.regex_syntax import InvalidPatternError, translate

SET = "".join(chr(0x4E00 + 2 * number) for number in range(5000))


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("a{2}{,3}b{1,}", "a{2}{,3}b{1,}"),
        ("a{e<=1}", r"a\{e<=1}"),
        ("{", r"\{"),
        (r"\{a\\{x}", r"\{a\\\{x}"),
        ("[[:alpha:]]", r"[\[:alpha:]]"),
        ("[]{[]{x}", r"[]{\[]\{x}"),
        ("[^]{]", "[^]{]"),
        (r"[\]{]{2}", r"[\]{]{2}"),
        (r"\N{DIGIT ONE}{x}", r"\N{DIGIT ONE}\{x}"),
        ("(?#[)a{x}", r"(?#[)a\{x}"),
        ("# [\n{x}", "# [\n{x}"),
    ],
)
def test_braces_and_brackets_are_escaped_where_python_reads_text(pattern: str, written: str) -> None:
    assert translate(pattern) == written


def test_comment_of_a_verbose_pattern_is_skipped() -> None:
    assert translate("a # [\n{x}", verbose=True) == "a # [\n\\{x}"


@pytest.mark.parametrize(
    "pattern",
    [
        "(?:a{1000}){1000}",
        "(?:(?:(?:a?){100}){100}){100}",
        "((((a{10}){10}){10}){10}){2}",
        f"(?:[{SET}]{{10}}){{10}}",
        f"[^{SET}]{{100}}",
    ],
)
def test_repetitions_are_bounded(pattern: str) -> None:
    with pytest.raises(InvalidPatternError, match="more than 10000 parts"):
        translate(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "a{9999}",
        "(a{1,60000}){1,60000}",
        "[a-z]{1000}(?:b{10}){10}",
        "[abcdefghijklmnopqrstuvwxyz0123456789]{500}",
        SET,
        f"[{SET}]+",
    ],
)
def test_ordinary_repetitions_are_accepted(pattern: str) -> None:
    assert translate(pattern) == pattern
