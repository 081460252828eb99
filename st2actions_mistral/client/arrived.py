"""Read what has arrived of a response, and end it, with urllib3 2 and 1.26.

The upper constraints of OpenStack 2025.2 pin urllib3 1.26.20, which waits until a whole buffer is full.
Nothing is decompressed: ``client.session`` rejects compressed responses.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import requests
import urllib3.exceptions


def read_arrived(response: requests.Response, amount: int) -> bytes:
    """Return the bytes that have arrived, at most ``amount``; wait for the first one. Empty at the end.

    :raises urllib3.exceptions.HTTPError: the connection broke, or was silent for too long.
    """
    raw: Any = response.raw
    if hasattr(raw, "read1"):
        piece: bytes = raw.read1(amount)
        return piece
    # The rest is for urllib3 1.26, which is complete and gets no new release: its private names stay.
    with raw._error_catcher():
        original = raw._original_response
        piece = original.read1(amount)
        if not piece:
            if original.length:
                raise urllib3.exceptions.IncompleteRead(0, original.length)
            # Then the connection returns to the pool.
            original.close()
    return piece


def interrupt(response: requests.Response) -> None:
    """End a response, also while another thread reads it.

    :raises ValueError, RuntimeError, OSError: it has ended.
    """
    raw: Any = response.raw
    if hasattr(raw, "shutdown"):
        raw.shutdown()
        return
    if raw._original_response.isclosed():
        raise ValueError("The response has ended.")
    with socket.socket(fileno=os.dup(raw.fileno())) as connection:
        connection.shutdown(socket.SHUT_RDWR)
