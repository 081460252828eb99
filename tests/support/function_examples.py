"""Read the examples of docs/reference/functions/."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference" / "functions"


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


def _pages() -> dict[str, str]:
    pages = {page.stem: page.read_text("utf-8") for page in _FOLDER.glob("*.md")}
    del pages["index"]
    return pages


def _examples() -> list[Example]:
    return [
        Example(function, number, **yaml.safe_load(block))
        for function, text in _pages().items()
        for number, block in enumerate(re.findall(r"^```yaml\n(yaql: .+?)^```", text, re.M | re.S), 1)
    ]


SIGNATURES: Final = {
    name: match[1]
    for name, text in _pages().items()
    if (match := re.search(rf"^`({name}\(.*?\))`", text, re.MULTILINE))
}
"""Each function as its page writes it: ``name(argument, argument=default)``."""

EXAMPLES: Final = _examples()
