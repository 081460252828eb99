"""Regular expressions in expressions."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import warnings
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions import patterns

MANY_PATTERNS = """
from st2actions_mistral.functions import patterns

def used():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 1e6

patterns.regex_match({}, "", "a")
before = used()
for number in range(100):
    patterns.regex_match({}, "", f"(?:a{{100}}){{90}}{number}")
print(used() - before)
"""

ADDRESSES = "Your address is 567 Elsewhere Dr. My address is 123 Somewhere Ave."
ADDRESS = r"([0-9]{3} \w+ (?:Ave|St|Dr))"

TOKENS = (
    r"a b [ ] ^ { } ( ) (?: | * + ? {2} {,3} {,} {1,2} \d \w \b [:alpha:] [a-c] [^a] \[ e<=1 : - && --"
    r" || $ . \1 (?i) (?P<n> (?P=n) (?= (?! \{ \} (?#[x) 1"
)


@given(
    st.lists(st.sampled_from(TOKENS.split()), max_size=7).map("".join),
    st.text("ab{}[]:^e<=1,2 lph-&|", max_size=8),
    st.booleans(),
)
def test_patterns_mean_what_they_mean_in_python(pattern: str, text: str, ignorecase: bool) -> None:
    flags = re.IGNORECASE if ignorecase else 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            python = re.compile(pattern, flags)
    except re.error:
        assume(False)
        return
    assert patterns.regex_match({}, text, pattern, ignorecase) == bool(python.match(text))
    assert patterns.regex_search({}, text, pattern, ignorecase) == bool(python.search(text))
    assert patterns.regex_replace({}, text, pattern, "<>", ignorecase) == python.sub("<>", text)
    found = [list(one) if isinstance(one, tuple) else one for one in python.findall(text)]
    for at, one in enumerate(found):
        assert patterns.regex_substring({}, text, pattern, at, ignorecase) == one


def test_match_is_at_the_start_and_search_anywhere() -> None:
    assert patterns.regex_match({}, "xyz", "x") is True
    assert patterns.regex_match({}, "xyz", "y") is False
    assert patterns.regex_search({}, "xyz", "y") is True
    assert patterns.regex_match({}, "XYZ", "x", ignorecase=True) is True
    assert patterns.regex_match({}, "v0.10.1", r"^v(\d+\.)?(\d+\.)?(\*|\d+)$") is True
    assert patterns.regex_search({}, 12345, "34") is True


def test_replace() -> None:
    colours = "(blue|white|red)"
    assert patterns.regex_replace({}, "blue socks", colours, "color") == "color socks"
    assert patterns.regex_replace({}, "blue socks", colours, r"<\1>") == "<blue> socks"
    assert patterns.regex_replace({}, "ab", "(?P<x>a)|(b)", r"\g<x>\2.") == "a.b."


def test_substring_returns_the_group_or_the_groups() -> None:
    assert patterns.regex_substring({}, ADDRESSES, ADDRESS) == "567 Elsewhere Dr"
    assert patterns.regex_substring({}, ADDRESSES, ADDRESS, 1) == "123 Somewhere Ave"
    assert patterns.regex_substring({}, ADDRESSES, ADDRESS, -1) == "123 Somewhere Ave"
    assert patterns.regex_substring({}, "a1", "([a-z])([0-9])") == ["a", "1"]


@pytest.mark.parametrize(
    ("call", "arguments", "reason"),
    [
        (
            "regex_substring",
            (ADDRESSES, ADDRESS, 2),
            "has 2 matches of the pattern, so none of index 2",
        ),
        ("regex_substring", ("a", "b"), "has 0 matches"),
        ("regex_substring", ("a", "a", "0"), "result_index must be a number"),
        ("regex_match", ("a", "("), "the pattern is invalid: missing \\)"),
        (
            "regex_match",
            ("a", "(" * 900 + ")" * 900),
            "the pattern is invalid: it is nested too deeply",
        ),
        ("regex_match", ("a", r"(?:(?:a{1000}){1000}){1000}"), "more than 10000 parts"),
        ("regex_match", ("a", f"a{{{'1' * 5000}}}"), "the pattern is invalid: Exceeds the limit"),
        ("regex_match", ("a", "a" * 10_001), "may have 10000"),
        ("regex_match", ("a" * 5_000_000, "a"), "may have 4194304"),
        ("regex_replace", ("a", "a", r"\1"), "the replacement is invalid: invalid group reference 1"),
        ("regex_replace", ("a", "a", r"\g<n>"), "the replacement is invalid: unknown group name 'n'"),
        ("regex_replace", ("a", "a", r"\x41"), r"the replacement is invalid: bad escape \\x"),
        ("regex_replace", ("a" * 1000, "a", "b" * 60_000), "the result has more than 4194304"),
    ],
)
def test_invalid_arguments(call: str, arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(InputError, match=rf"^{call}: .*{reason}"):
        getattr(patterns, call)({}, *arguments)


@pytest.mark.parametrize("call", ["regex_match", "regex_search", "regex_substring", "regex_replace"])
@pytest.mark.parametrize("pattern", ["(a|aa)+$", r"(?:(?:a|aa)+)+b"])
def test_pattern_that_backtracks_without_end_is_stopped(call: str, pattern: str) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=f"{call}: the pattern takes more than 1 s"):
        getattr(patterns, call)({}, "a" * 2000 + "c", pattern)
    # The limit is a second of a processor; a busy machine takes longer.
    assert time.monotonic() - start < 30


def test_memory_for_compiled_patterns_is_bounded() -> None:
    result = subprocess.run(
        [sys.executable, "-c", MANY_PATTERNS], capture_output=True, text=True, check=True
    )
    # MB. All of them take 120.
    assert float(result.stdout) < 80
