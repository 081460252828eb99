"""Search and replace with regular expressions, in bounded time.

The pattern is one of Python's ``re``, which decides what is valid and what it means. The module
``regex`` searches, because ``re`` cannot be stopped: a pattern such as ``(a+)+$`` keeps it busy for
years, and with it the whole process, as it holds the interpreter's lock. See ``regex_syntax`` for what
the two read differently.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from jinja2 import pass_context

from st2actions_mistral.errors import InputError
from st2actions_mistral.functions.regex_syntax import InvalidPatternError, translate
from st2actions_mistral.functions.values import MAX_TEXT, library, text

if TYPE_CHECKING:
    import regex

_Value = TypeVar("_Value")

_TIMEOUT: Final = 1.0
"""Seconds for one call."""

_MAX_PATTERN: Final = 10_000
_MAX_REPLACEMENT: Final = 65_536


class _Pattern(NamedTuple):
    """A pattern, compiled by both modules."""

    search: regex.Pattern[str]
    checker: re.Pattern[str]
    """Matches an empty text, with groups of the same numbers and names."""


@pass_context
def regex_match(context: Any, value: Any, pattern: Any = "", ignorecase: bool = False) -> bool:
    """Return true if a pattern matches at the start of a text."""
    name = "regex_match"
    compiled, searched = _compile(name, pattern, ignorecase), text(name, value)
    return _in_time(name, lambda: compiled.search.match(searched, timeout=_TIMEOUT)) is not None


@pass_context
def regex_search(context: Any, value: Any, pattern: Any = "", ignorecase: bool = False) -> bool:
    """Return true if a pattern matches anywhere in a text."""
    name = "regex_search"
    compiled, searched = _compile(name, pattern, ignorecase), text(name, value)
    return _in_time(name, lambda: compiled.search.search(searched, timeout=_TIMEOUT)) is not None


@pass_context
def regex_substring(
    context: Any, value: Any, pattern: Any = "", result_index: int = 0, ignorecase: bool = False
) -> Any:
    """Return the first match of a pattern, or its group, or another match by its number from 0."""
    name = "regex_substring"
    compiled, searched = _compile(name, pattern, ignorecase), text(name, value)
    if isinstance(result_index, bool) or not isinstance(result_index, int):
        raise InputError(name, "result_index must be a number.")
    found = _in_time(name, lambda: compiled.search.findall(searched, timeout=_TIMEOUT))
    try:
        match = found[result_index]
    except IndexError:
        raise InputError(
            name, f"the text has {len(found)} matches of the pattern, so none of index {result_index}."
        ) from None
    return list(match) if isinstance(match, tuple) else match


@pass_context
def regex_replace(
    context: Any, value: Any = "", pattern: Any = "", replacement: Any = "", ignorecase: bool = False
) -> str:
    """Replace all matches of a pattern; the replacement may use groups."""
    name = "regex_replace"
    compiled, searched = _compile(name, pattern, ignorecase), text(name, value)
    template = text(name, replacement, _MAX_REPLACEMENT)
    try:
        compiled.checker.sub(template, "")
    except (re.error, IndexError) as error:
        raise InputError(name, f"the replacement is invalid: {error}.") from None
    size = 0

    def expand(match: regex.Match[str]) -> str:
        nonlocal size
        new: str = match.expand(template)
        size += len(new)
        if size > MAX_TEXT:
            raise InputError(name, f"the result has more than {MAX_TEXT} characters.")
        return new

    return _in_time(name, lambda: compiled.search.sub(expand, searched, timeout=_TIMEOUT))


def _compile(name: str, pattern: Any, ignorecase: bool) -> _Pattern:
    written = text(name, pattern, _MAX_PATTERN)
    library(name, "regex")
    try:
        return _compiled(written, bool(ignorecase))
    except InvalidPatternError as error:
        raise InputError(name, f"the pattern is invalid: {error}.") from None


# A compiled pattern may take some megabytes.
@functools.lru_cache(maxsize=32)
def _compiled(pattern: str, ignorecase: bool) -> _Pattern:
    """Compile a pattern.

    :raises InvalidPatternError: it is invalid, or too complex.
    """
    import regex

    try:
        with warnings.catch_warnings():
            # About sets that a future re may read differently. translate() keeps today's meaning.
            warnings.simplefilter("ignore", FutureWarning)
            known = re.compile(pattern, re.IGNORECASE if ignorecase else 0)
        flags = regex.VERSION0 | (regex.IGNORECASE if ignorecase else 0)
        written = translate(pattern, verbose=bool(known.flags & re.VERBOSE))
        # regex itself would keep 500 patterns.
        compiled = regex.compile(written, flags, cache_pattern=False)
    except (re.error, regex.error, OverflowError, ValueError) as error:
        # A ValueError: a repetition of more than 4,300 digits.
        raise InvalidPatternError(str(error)) from None
    except RecursionError:
        raise InvalidPatternError("it is nested too deeply") from None
    names = {number: name for name, number in known.groupindex.items()}
    groups = (f"(?P<{names[at]}>)" if at in names else "()" for at in range(1, known.groups + 1))
    return _Pattern(compiled, re.compile("".join(groups)))


def _in_time(name: str, call: Callable[[], _Value]) -> _Value:
    try:
        return call()
    except TimeoutError:
        raise InputError(
            name, f"the pattern takes more than {_TIMEOUT:g} s. Repetitions within repetitions do so."
        ) from None
