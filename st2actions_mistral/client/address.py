"""Names as parts of a URL's path."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

# urllib3 takes these for steps within the path, quoted or not, and asks for something else.
_STEPS: Final = {".": "%2E", "..": "%2E%2E"}


def segment(name: str) -> str:
    """A name as one part of a path.

    What cannot be said there becomes a name that nothing has: half a surrogate pair a question mark,
    "." and ".." their own escapes.
    """
    return quote(_STEPS.get(name, name), safe="", errors="replace")
