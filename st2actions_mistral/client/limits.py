"""Bounds against servers that respond without end.

Every bound on what a server may send is here, except the depth of JSON, which is in
``model.json_values``, and the length of a message, which is in ``redact``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests

from st2actions_mistral.client.arrived import read_arrived
from st2actions_mistral.errors import OutcomeUnknown, TooLarge

# Bytes read at once.
_PIECE: Final = 256 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits on what a server may send."""

    response_bytes: int = 64 * 1024 * 1024
    """Of a whole response. StackStorm's largest is one execution: MongoDB stores 16 MB, and JSON needs
    several bytes for some characters."""
    error_bytes: int = 64 * 1024
    """Of an error response; the rest is not read."""
    response_timeouts: int = 4
    """Time for a whole response, in multiples of ``read_timeout``. By default that is two minutes, in
    which the largest response needs half a megabyte per second."""
    stream_silence: float = 60.0
    """Seconds without a byte from the event stream. StackStorm sends a heartbeat every 25 s by default.
    A stream that is silent for more than two of them is dead, even if its connection looks alive."""
    frame_bytes: int = 64 * 1024 * 1024
    """Of one event, which is a whole execution with its result, see ``response_bytes``."""
    frame_lines: int = 100
    """Of one event. StackStorm's events have two lines."""
    listing_rows: int = 1_000_000
    """Of one listing. About 100 bytes are kept for each row."""
    stale_pages: int = 3
    """Pages in a row without a new row. Rows that are created at the front of a listing meanwhile
    shift it, at worst by whole pages."""


DEFAULT: Final = Limits()


def read_body(
    response: requests.Response,
    method: str,
    url: str,
    read_timeout: float,
    *,
    truncate: bool = False,
    limits: Limits = DEFAULT,
) -> bytes:
    """Return the body of a response.

    :param truncate: stop at ``error_bytes``, or if it takes too long, instead of raising an error.
    :raises OutcomeUnknown: it takes too long.
    :raises TooLarge: it has more than ``response_bytes``.
    """
    limit = limits.error_bytes if truncate else limits.response_bytes
    deadline = time.monotonic() + limits.response_timeouts * read_timeout
    pieces: list[bytes] = []
    size = 0
    while piece := read_arrived(response, _PIECE):
        pieces.append(piece)
        size += len(piece)
        late = time.monotonic() > deadline
        if late or size > limit:
            if truncate:
                response.close()
                break
            if late:
                raise OutcomeUnknown(method, url, "the response took too long.")
            raise TooLarge(method, url, f"the response is larger than {limit} bytes.")
    return b"".join(pieces)[:limit]


def check_frame(url: str, size: int, lines: int, limits: Limits = DEFAULT) -> None:
    """Check the part of an event that has arrived.

    :param size: bytes.
    :raises OutcomeUnknown: it is too large.
    """
    if size > limits.frame_bytes or lines > limits.frame_lines:
        reason = f"an event has more than {limits.frame_bytes} bytes or {limits.frame_lines} lines."
        raise OutcomeUnknown("GET", url, reason)


class Progress:
    """Check that a listing ends.

    :param url: of the listing, for the error.
    """

    def __init__(self, url: str, limits: Limits = DEFAULT) -> None:
        self._url = url
        self._limits = limits
        # Hashes, because the server chooses the length of the ids.
        self._seen: set[int] = set()
        self._stale = 0

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take note of a page that is not the last one.

        :raises OutcomeUnknown: the listing does not advance, or has too many rows.
        """
        before = len(self._seen)
        self._seen.update(hash(row["id"]) for row in rows)
        self._stale = 0 if len(self._seen) > before else self._stale + 1
        if self._stale >= self._limits.stale_pages:
            raise OutcomeUnknown("GET", self._url, "the listing goes on without a new row.")
        if len(self._seen) > self._limits.listing_rows:
            reason = f"the listing has more than {self._limits.listing_rows} rows."
            raise OutcomeUnknown("GET", self._url, reason)
