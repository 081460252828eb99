"""Shorten Mistral's message about an invalid definition, and find its line.

Mistral's messages contain no line. Most contain the value that was checked, and some of the keys that
lead to it. The others name a wrong key or value, or else the task, workflow or action that was checked.
"""

from __future__ import annotations

import ast
import re
from typing import Final

from st2actions_mistral.dsl.lines import line_of_value, lines_of_scalars

# Mistral passes on jsonschema's message with the whole schema: ten thousand characters.
_SCHEMA: Final = re.compile(r"\s+Failed validating '")

_QUOTED: Final = re.compile(r"'([^'\n]+)'")

# The object that was checked: a key of the object that the schema describes, or the name that Mistral
# adds to it.
_CHECKED: Final = re.compile(
    r"\[task_name=([^,\]]+)|On instance(?:\['[^']+'\])*\['([^']+)'\]:|'name': '([^']+)'"
)

# The value that was checked, as Python prints it. The keys before it are those in one mapping.
_INSTANCE: Final = re.compile(
    r"\sOn instance(?P<path>(?:\['[^'\n]+'\]|\[\d+\])*):\s(?P<value>.*)", re.DOTALL
)
_KEY: Final = re.compile(r"\['([^']+)'\]")
_UNEXPECTED: Final = re.compile(r"\('([^'\n]+)'(?:, '[^'\n]+')* (?:was|were) unexpected\)")

# Not the name of anything in the text.
_TYPE: Final = re.compile(r"is not of type '\w+'(?:, '\w+')*")

# Characters.
_MAX_LENGTH: Final = 400


def summarize(message: str, text: str) -> str:
    """Return Mistral's message in one line, with the line number of the text that it is about.

    :param message: Mistral's answer.
    :param text: the definition as its author wrote it; valid YAML.
    :return: for example ``line 7: Additional properties are not allowed ('actoin' was unexpected)``;
        without a line number if the text has nothing that the message names.
    """
    line, summary = locate(message, text)
    return f"line {line}: {summary}" if line else summary


def locate(message: str, text: str) -> tuple[int | None, str]:
    """Return the same as :func:`summarize`, as line number, from 1 or None, and summary."""
    # The answer to a GET may contain JSON.
    found = re.search(r'"faultstring": "(.*)', message, re.DOTALL)
    message = (found.group(1).replace("\\n", "\n") if found else message).strip()
    summary = " ".join(_SCHEMA.split(message, 1)[0].split())
    line = _find_line(message, summary, text)
    return line, summary if len(summary) <= _MAX_LENGTH else f"{summary[:_MAX_LENGTH]} …"


def _find_line(message: str, summary: str, text: str) -> int | None:
    line = _line_of_instance(message, summary, text)
    if line is not None:
        return line
    # A missing key may be present elsewhere in the text: that is not its place.
    is_missing = "is a required property" in summary
    named = [] if is_missing else _QUOTED.findall(_TYPE.sub("", summary))
    checked = ["".join(groups) for groups in _CHECKED.findall(message)]
    lines = lines_of_scalars(text)
    known = [lines[name] for name in [*named, *checked] if name in lines]
    # Prefer a name that the text has only once. Otherwise take the first place.
    known.sort(key=lambda places: len(places) > 1)
    return known[0][0] if known else None


def _line_of_instance(message: str, summary: str, text: str) -> int | None:
    """Return the line of the value that jsonschema rejected; None if the message has none."""
    instance = _INSTANCE.search(message)
    if instance is None:
        return None
    try:
        value = ast.literal_eval(instance["value"].strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        # A date, or a text that was truncated.
        return None
    unexpected = _UNEXPECTED.search(summary)
    return line_of_value(
        text, _KEY.findall(instance["path"]), value, unexpected[1] if unexpected else None
    )
