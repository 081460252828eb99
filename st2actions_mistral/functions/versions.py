"""Compare and change semantic versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jinja2 import pass_context

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.values import library, text

if TYPE_CHECKING:
    import semver

_Value = TypeVar("_Value")

# Characters. Longer than any real version, and short for the expressions that parse it.
_MAX_LENGTH: Final = 256


@pass_context
def version_compare(context: Any, value: Any, pattern: Any) -> int:
    """Return 1 if the first version is higher, -1 if it is lower, and 0 if both are equal."""
    return _compare("version_compare", value, pattern)


@pass_context
def version_more_than(context: Any, value: Any, pattern: Any) -> bool:
    """Return true if the first version is higher."""
    return _compare("version_more_than", value, pattern) > 0


@pass_context
def version_less_than(context: Any, value: Any, pattern: Any) -> bool:
    """Return true if the first version is lower."""
    return _compare("version_less_than", value, pattern) < 0


@pass_context
def version_equal(context: Any, value: Any, pattern: Any) -> bool:
    """Return true if both versions are equal."""
    return _compare("version_equal", value, pattern) == 0


@pass_context
def version_match(context: Any, value: Any, pattern: Any) -> bool:
    """Return true if a version is in a range such as >=1.0.0."""
    name = "version_match"
    version, wanted = _parse(name, value), text(name, pattern, _MAX_LENGTH)
    return _valid(name, lambda: version.match(wanted))


@pass_context
def version_bump_major(context: Any, value: Any) -> str:
    """Return the next major version."""
    return str(_parse("version_bump_major", value).bump_major())


@pass_context
def version_bump_minor(context: Any, value: Any) -> str:
    """Return the next minor version."""
    return str(_parse("version_bump_minor", value).bump_minor())


@pass_context
def version_bump_patch(context: Any, value: Any) -> str:
    """Return the next patch version."""
    return str(_parse("version_bump_patch", value).bump_patch())


@pass_context
def version_strip_patch(context: Any, value: Any) -> str:
    """Return major and minor version only."""
    version = _parse("version_strip_patch", value)
    return f"{version.major}.{version.minor}"


def _compare(name: str, value: Any, pattern: Any) -> int:
    return int(_parse(name, value).compare(_parse(name, pattern)))


def _parse(name: str, value: Any) -> semver.Version:
    written = text(name, value, _MAX_LENGTH)
    version: type[semver.Version] = library(name, "semver").Version
    return _valid(name, lambda: version.parse(written))


def _valid(name: str, call: Callable[[], _Value]) -> _Value:
    """Return the result of ``call``.

    :raises InputError: a text is not a version or range.
    """
    try:
        return call()
    except ValueError as error:
        raise InputError(name, f"{error}.") from None
