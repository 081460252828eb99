"""Tell the service manager during long listings that the relay still works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Row = TypeVar("Row")


def with_heartbeat(rows: Iterable[Row], heartbeat: Callable[[], None]) -> Iterator[Row]:
    """Return the rows of a listing, with a heartbeat for each."""
    for row in rows:
        heartbeat()
        yield row
    heartbeat()
