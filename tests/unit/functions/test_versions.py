"""Semantic versions."""

from __future__ import annotations

from typing import Any

import pytest

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions import versions


@pytest.mark.parametrize(("other", "result"), [("0.9.3", 1), ("0.10.1", 0), ("0.10.2", -1)])
def test_compare(other: str, result: int) -> None:
    version = "0.10.1"
    assert versions.version_compare({}, version, other) == result
    assert versions.version_more_than({}, version, other) is (result == 1)
    assert versions.version_less_than({}, version, other) is (result == -1)
    assert versions.version_equal({}, version, other) is (result == 0)


def test_compare_prereleases_and_builds() -> None:
    assert versions.version_less_than({}, "1.0.0-rc.1", "1.0.0") is True
    assert versions.version_less_than({}, "1.0.0-rc.2", "1.0.0-rc.10") is True
    assert versions.version_equal({}, "1.0.0+build.1", "1.0.0") is True


@pytest.mark.parametrize(
    ("pattern", "result"),
    [
        (">=0.9.3", True),
        (">0.11.3", False),
        ("==0.9.3", False),
        ("!=0.9.3", True),
        ("<=0.10.1", True),
        ("<0.10.2", True),
        ("0.10.1", True),
    ],
)
def test_match(pattern: str, result: bool) -> None:
    assert versions.version_match({}, "0.10.1", pattern) is result


def test_bump_and_strip() -> None:
    assert versions.version_bump_major({}, "0.10.1") == "1.0.0"
    assert versions.version_bump_minor({}, "0.10.1") == "0.11.0"
    assert versions.version_bump_patch({}, "0.10.1") == "0.10.2"
    assert versions.version_bump_patch({}, "0.10.1-rc.1") == "0.10.2"
    assert versions.version_strip_patch({}, "0.10.1-rc.1+b") == "0.10"


@pytest.mark.parametrize("value", ["1.2", "v1.2.3", "01.2.3", "", None, 1.2, ["1.2.3"], "1.2.3\n"])
def test_invalid_version_names_the_function(value: Any) -> None:
    with pytest.raises(InputError, match=r"^version_bump_major: "):
        versions.version_bump_major({}, value)
    with pytest.raises(InputError, match=r"^version_compare: "):
        versions.version_compare({}, "1.2.3", value)


@pytest.mark.parametrize("pattern", ["", "=1.0.0", "~1.0.0", ">1.0", ">= 1.0.0", "latest"])
def test_invalid_range(pattern: str) -> None:
    with pytest.raises(InputError, match=r"^version_match: "):
        versions.version_match({}, "1.0.0", pattern)


def test_long_text_is_no_version() -> None:
    with pytest.raises(InputError, match=r"has 1004 characters. It may have 256"):
        versions.version_bump_major({}, "1" * 1000 + ".0.0")
