"""Find the expression functions that distributions of this virtualenv bring."""

from __future__ import annotations

from importlib.metadata import distributions
from typing import Final

GROUP: Final = "mistral.expression.functions"


def installed_functions() -> set[str]:
    """Return the names of the expression functions, without loading them.

    In Mistral's virtualenv these are all that Mistral has, plugins of others included.
    """
    return {
        entry.name
        for distribution in distributions()
        for entry in distribution.entry_points
        if entry.group == GROUP
    }
