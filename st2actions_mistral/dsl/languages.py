"""Choose the language of the expressions that rewriting adds to a definition.

Mistral 23 has ``[expressions] allowed_languages``. It rejects a definition with an expression of
another language, and refuses to evaluate one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, Final

from st2actions_mistral.dsl.definition import Definition

# Texts that Mistral does not evaluate.
_PROSE: Final = ("description",)


class Language(enum.Enum):
    """A language of Mistral's expressions, by its brackets."""

    YAQL = ("<%", "%>")
    JINJA = ("{{", "}}")

    def expression(self, code: str) -> str:
        """Return a whole expression. The code must mean the same in both languages."""
        begin, end = self.value
        return f"{begin} {code} {end}"


def language_of(definition: Definition) -> Language | None:
    """Return a language that the definition itself uses: YAQL if it uses both, None if neither.

    Mistral allows what it accepts from the author, so this language can be added to.
    """
    uses_jinja = False
    for text in _texts(definition.data):
        if "<%" in text:
            return Language.YAQL
        uses_jinja = uses_jinja or "{{" in text or "{%" in text
    return Language.JINJA if uses_jinja else None


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts that Mistral may evaluate."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _PROSE:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
