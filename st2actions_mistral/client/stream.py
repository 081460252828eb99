"""StackStorm's event stream."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

import requests
import sseclient

from st2actions_mistral.client import session as http
from st2actions_mistral.client.api import advised
from st2actions_mistral.client.credentials import St2Credential
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.errors import Answered, OutcomeUnknown
from st2actions_mistral.model import json_values

LOG: Final = logging.getLogger(__name__)

_EVENTS: Final = "st2.execution__create,st2.execution__update"

# StackStorm sends a bare newline every 25 s by default. A stream that is silent for longer than two
# of them is dead, however its connection looks.
_SILENCE: Final = 60.0

_READ_BYTES: Final = 65536

# One frame is a whole execution with its result, and a line of it is the frame. StackStorm's own
# limit is MongoDB's 16 MB for a document; JSON may need several bytes for one of these.
_FRAME_BYTES: Final = 64 * 1024 * 1024

# StackStorm's have two. What is read of a frame is copied for each line of it.
_FRAME_LINES: Final = 100

# As sseclient has it; two pieces may share it, of which the first then has 3 bytes at most.
_FRAME_END: Final = re.compile(rb"\n\n|\r\r|\r\n\r\n")
_SHARED: Final = 3


@dataclass(frozen=True)
class Event:
    """Something that happened to an execution."""

    execution: dict[str, Any]
    """The whole of it, with ``context``, and ``result`` once it is final."""


class EventStream:
    """An open stream of the creations and updates of executions; a context manager.

    StackStorm numbers no events and repeats none: what happened before :meth:`events` gave its first
    item, or after it ended, has to be listed.

    :raises RemoteError: the stream cannot be opened, see ``client.session.send``.
    """

    def __init__(self, settings: St2Settings) -> None:
        self._heard = time.monotonic()
        self._session = http.new_session(settings.tls)
        self._url = settings.stream()
        credential = St2Credential(settings, self._session)
        try:
            self._response = self._open(settings, credential)
        except BaseException:
            self._session.close()
            raise

    @property
    def last_contact(self) -> float:
        """When something came last, if only a heartbeat; seconds as ``time.time``."""
        # As Api.last_contact.
        return time.time() - (time.monotonic() - self._heard)

    def events(self) -> Iterator[Event | None]:
        """What happens, as it happens; None first, once nothing more can be missed.

        Ends when StackStorm ends the stream.

        :raises OutcomeUnknown: it broke, or was silent for longer than two heartbeats.
        """
        bytes_read = self._bytes()
        try:
            # StackStorm writes its first heartbeat once it has subscribed us.
            first = next(bytes_read)
        except StopIteration:
            return
        yield None
        try:
            for frame in sseclient.SSEClient(_whole(first, bytes_read)).events():
                event = _parsed(frame.data)
                if event is not None:
                    yield event
        except UnicodeDecodeError as error:
            raise OutcomeUnknown("GET", self._url, "the stream is not UTF-8.") from error

    def interrupt(self) -> None:
        """End :meth:`events`, also while another thread waits in it."""
        try:
            self._response.raw.shutdown()
        except (ValueError, RuntimeError, OSError):
            # Read to its end or closed already: nobody waits.
            LOG.debug("The stream had ended.")

    def close(self) -> None:
        """Close the connection. Not while another thread reads: see :meth:`interrupt`."""
        self._response.close()
        self._session.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, settings: St2Settings, credential: St2Credential) -> requests.Response:
        def attempt(ours: dict[str, str]) -> requests.Response:
            return http.send(
                self._session,
                "GET",
                settings.stream(),
                replace(settings.timeouts, read_timeout=_SILENCE),
                params={"events": _EVENTS},
                headers={"Accept": "text/event-stream", **ours},
                stream=True,
            )

        ours = credential.headers()
        try:
            return attempt(ours)
        except Answered as error:
            if error.status != 401:
                raise
            if not credential.renew(ours):
                raise advised(error, credential.hint()) from error
            return attempt(credential.headers())

    def _bytes(self) -> Iterator[bytes]:
        """What is there, without waiting for a full buffer (behind nginx there are no chunks)."""
        unfinished = lines = 0
        before = b""
        with http.translated("GET", self._url):
            while piece := self._response.raw.read1(_READ_BYTES, decode_content=True):
                self._heard = time.monotonic()
                unfinished -= len(before)
                lines -= _line_ends(before)
                for number, frame in enumerate(_FRAME_END.split(before + piece)):
                    if number:
                        unfinished = lines = 0
                    unfinished += len(frame)
                    lines += _line_ends(frame)
                    if unfinished > _FRAME_BYTES or lines > _FRAME_LINES:
                        limit = f"{_FRAME_BYTES} bytes, or {_FRAME_LINES} lines"
                        raise OutcomeUnknown(
                            "GET", self._url, f"a frame of the stream is longer than {limit}."
                        )
                before = (before + piece)[-_SHARED:]
                yield piece


def _whole(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The stream, each piece of it with the end of a frame: sseclient copies what it has of a frame
    for every piece that adds to it."""
    held: list[bytes] = []
    before = b""
    for piece in itertools.chain([first], rest):
        held.append(piece)
        if _FRAME_END.search(before + piece):
            yield b"".join(held)
            held.clear()
        before = (before + piece)[-_SHARED:]
    yield b"".join(held)


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r")


def _parsed(data: str) -> Event | None:
    try:
        execution = json_values.decode(data)
    except ValueError:
        LOG.warning("An event of %d characters is not JSON and was left out.", len(data))
        return None
    if not isinstance(execution, dict):
        return None
    if not isinstance(execution.get("id"), str) or not isinstance(execution.get("status"), str):
        return None
    return Event(execution)
