"""Read the examples of docs/reference/functions.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "functions.md"


@dataclass(frozen=True)
class Example:
    """One example: two expressions with the same result."""

    function: str
    number: int
    yaql: str
    jinja: str
    result: Any

    @property
    def id(self) -> str:
        """A name for a variable of a workflow and for a test."""
        return f"{self.function}_{self.number}"


KEYS: Final = ({"name": "marco", "value": "polo"},)
"""The keys of the datastore that the examples read."""


def _sections() -> dict[str, str]:
    sections = re.split(r"^## (.+)$", _PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    named = zip(sections[::2], sections[1::2])
    return {name: text for name, text in named if re.fullmatch(r"[a-z0-9_]+", name)}


def _examples() -> list[Example]:
    return [
        Example(function, number, **yaml.safe_load(block))
        for function, text in _sections().items()
        for number, block in enumerate(re.findall(r"^```yaml\n(yaql: .+?)^```", text, re.M | re.S), 1)
    ]


SIGNATURES: Final = {
    name: match[1]
    for name, text in _sections().items()
    if (match := re.search(rf"^`({name}\(.*?\))`", text, re.MULTILINE))
}
"""Each function as its section writes it: ``name(argument, argument=default)``."""

EXAMPLES: Final = _examples()
