"""What Mistral says of a definition that it refuses, in words that help: short, and with the line.

Mistral names no lines, but mostly the key or the value that it dislikes, or else the task, the workflow
or the action that it was looking at.
"""

from __future__ import annotations

import re
from typing import Final

from st2actions_mistral.dsl.lines import lines_of_words

# Mistral hands on what jsonschema says, with the schema that the text does not fit: ten thousand
# characters of it.
_SCHEMA: Final = "\n\nFailed validating"

_QUOTED: Final = re.compile(r"'([^'\n]+)'")

# What Mistral looked at: a key in the thing that the schema is for, or the name that Mistral writes
# into it.
_LOOKED_AT: Final = re.compile(
    r"\[task_name=([^,\]]+)|On instance(?:\['[^']+'\])*\['([^']+)'\]:|'name': '([^']+)'"
)

# Characters.
_LONGEST: Final = 400


def complaint(words: str, text: str) -> str:
    """Mistral's words without its schema, and with the line of the text that they are about.

    :param words: its answer.
    :param text: as the author wrote it; YAML that can be read.
    :return: such as ``line 7: Additional properties are not allowed ('actoin' was unexpected)``;
        without a line where the words name nothing that the text has.
    """
    line, short = read(words, text)
    return f"line {line}: {short}" if line else short


def read(words: str, text: str) -> tuple[int | None, str]:
    """As :func:`complaint`, with the line, from 1, on its own."""
    # The answer to a GET may be the JSON of it.
    found = re.search(r'"faultstring": "(.*)', words, re.DOTALL)
    words = (found.group(1).replace("\\n", "\n") if found else words).strip()
    short = " ".join(words.partition(_SCHEMA)[0].split())
    line = _line(words, short, text)
    return line, short if len(short) <= _LONGEST else f"{short[:_LONGEST]} …"


def _line(words: str, short: str, text: str) -> int | None:
    # What is missing does not stand where it is missed, but perhaps elsewhere.
    named = [] if "is a required property" in short else _QUOTED.findall(short)
    looked_at = ["".join(groups) for groups in _LOOKED_AT.findall(words)]
    lines = lines_of_words(text)
    known = [lines[name] for name in [*named, *looked_at] if name in lines]
    # What there is once is the place; of what there is more than once, the first may be.
    known.sort(key=lambda places: len(places) > 1)
    return known[0][0] if known else None
