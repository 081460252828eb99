"""Quote names for the path of a URL."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

# urllib3 resolves these as relative paths, even if they are quoted once.
_RELATIVE: Final = {".": "%2E", "..": "%2E%2E"}


def segment(name: str) -> str:
    """Return a name as one segment of a path.

    A name that no URL can carry becomes one that nothing has: half a surrogate pair becomes a question
    mark, "." and ".." become their own escapes.
    """
    return quote(_RELATIVE.get(name, name), safe="", errors="replace")
