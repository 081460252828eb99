"""Listings that have an end, whatever the service answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from st2actions_mistral.errors import OutcomeUnknown

# Rows. What is remembered of each takes some 100 bytes.
_MOST: Final = 1_000_000

# Pages in a row that bring nothing new. What is made meanwhile at the front of a listing shifts its
# rows, at worst by whole pages: seen twice, never missed.
_MOST_STALE: Final = 3


class Progress:
    """Watches one listing from page to page.

    :param url: of the listing, for the error.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        # Not the ids themselves: how long these are is up to the service.
        self._seen: set[int] = set()
        self._stale = 0

    def goes_on_after(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Call after each page but the last.

        :raises OutcomeUnknown: the listing does not get on, or is longer than any can be.
        """
        before = len(self._seen)
        self._seen.update(hash(row["id"]) for row in rows)
        self._stale = 0 if len(self._seen) > before else self._stale + 1
        if self._stale >= _MOST_STALE:
            raise OutcomeUnknown("GET", self._url, "the listing goes on and brings nothing new.")
        if len(self._seen) > _MOST:
            raise OutcomeUnknown("GET", self._url, f"the listing has more than {_MOST} rows.")
