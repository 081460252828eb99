"""Read StackStorm's event stream."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

import requests

from st2actions_mistral.client import limits
from st2actions_mistral.client import session as http
from st2actions_mistral.client.arrived import interrupt, read_arrived
from st2actions_mistral.client.auth import St2Credential, authenticated
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.translate import request_errors
from st2actions_mistral.errors import OutcomeUnknown
from st2actions_mistral.model import json_values

LOG: Final = logging.getLogger(__name__)

_EVENTS: Final = "st2.execution__create,st2.execution__update"

_READ_BYTES: Final = 65536

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_DATA: Final = re.compile(rb"data(?:: ?|\Z)")


@dataclass(frozen=True)
class Event:
    """The creation or an update of an execution."""

    execution: dict[str, Any]
    """The whole execution with ``context``, and ``result`` once it is final."""


class EventStream:
    """An open stream of the creations and updates of executions; a context manager.

    StackStorm numbers no events and repeats none. What happened before :meth:`events` yielded its first
    item, or after it ended, has to be listed.

    :raises RemoteError: the stream cannot be opened, see ``client.session.send``.
    """

    def __init__(self, settings: St2Settings, *, bounds: limits.Limits = limits.DEFAULT) -> None:
        self._last_contact = time.monotonic()
        self._bounds = bounds
        self._url = settings.stream()
        self._timeouts = replace(settings.timeouts, read_timeout=bounds.stream_silence)
        self._session = http.new_session(settings.tls)
        try:
            self._response = self._open(settings)
        except BaseException:
            self._session.close()
            raise

    @property
    def last_contact(self) -> float:
        """The time of the last byte, including heartbeats; seconds as ``time.time``."""
        # As Api.last_contact.
        return time.time() - (time.monotonic() - self._last_contact)

    def events(self) -> Iterator[Event | None]:
        """Yield events as they happen; None first, once no later event can be missed.

        None again: an event could not be read. The iterator ends when StackStorm ends the stream.

        :raises OutcomeUnknown: the stream broke, or was silent for too long.
        """
        pieces = self._pieces()
        # StackStorm writes its first heartbeat once the subscription is active.
        first = next(pieces, None)
        if first is None:
            return
        yield None
        for data in frames(itertools.chain([first], pieces), self._url, self._bounds):
            if data:
                yield _event(data)

    def interrupt(self) -> None:
        """End :meth:`events`, also while another thread waits in it."""
        try:
            interrupt(self._response)
        except (ValueError, RuntimeError, OSError):
            LOG.debug("The stream had ended already.")

    def close(self) -> None:
        """Close the connection. Call :meth:`interrupt` first if another thread reads."""
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

    def _open(self, settings: St2Settings) -> requests.Response:
        def send(credential: dict[str, str]) -> requests.Response:
            return http.send(
                self._session,
                "GET",
                self._url,
                self._timeouts,
                params={"events": _EVENTS},
                headers={"Accept": "text/event-stream", **credential},
                stream=True,
            )

        return authenticated(St2Credential(settings, self._session), send)

    def _pieces(self) -> Iterator[bytes]:
        """Yield the bytes that have arrived; a full buffer would wait for ever behind nginx."""
        with request_errors("GET", self._url, self._timeouts):
            while piece := read_arrived(self._response, _READ_BYTES):
                self._last_contact = time.monotonic()
                yield piece


def frames(pieces: Iterable[bytes], url: str, bounds: limits.Limits = limits.DEFAULT) -> Iterator[str]:
    """Yield the data of each server-sent event, within bounds.

    Lines end with LF, CR or CRLF, and pieces end anywhere. An event that the stream does not finish is
    dropped.

    :param url: of the stream, for the error.
    :raises OutcomeUnknown: an event is too large, or is not UTF-8.
    """
    # Of the current event: the pieces of its unfinished line, its lines of data, its bytes and lines.
    line: list[bytes] = []
    data: list[bytes] = []
    size = lines = 0
    is_first_line = True
    after_cr = False
    for piece in pieces:
        # The second half of a CRLF ends no further line.
        rest = piece[1:] if after_cr and piece.startswith(b"\n") else piece
        after_cr = rest.endswith(b"\r")
        *ends, rest = _LINE_END.split(rest)
        for end in ends:
            line.append(end)
            size += len(end) + 1
            lines += 1
            limits.check_frame(url, size, lines, bounds)
            whole = b"".join(line)
            line.clear()
            if is_first_line:
                whole = whole.removeprefix(_BYTE_ORDER_MARK)
                is_first_line = False
            if not whole:
                if data:
                    yield _decoded(b"\n".join(data), url)
                    data.clear()
                size = lines = 0
            elif match := _DATA.match(whole):
                data.append(whole[match.end() :])
        line.append(rest)
        size += len(rest)
        limits.check_frame(url, size, lines, bounds)


def _decoded(data: bytes, url: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise OutcomeUnknown("GET", url, "the stream is not UTF-8.") from error


def _event(data: str) -> Event | None:
    """Return the event of a frame; None if it is not about an execution."""
    try:
        execution = json_values.decode(data)
    except ValueError:
        LOG.warning("An event of %d characters was ignored: it is not JSON.", len(data))
        return None
    if not isinstance(execution, dict):
        LOG.warning("An event of %d characters was ignored: it is not an object.", len(data))
        return None
    for key in ("id", "status"):
        if not isinstance(execution.get(key), str):
            LOG.warning("An event was ignored: its execution has no %s.", key)
            return None
    return Event(execution)
