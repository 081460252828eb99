"""Call one HTTP API: its URL, session, credential and retries."""

from __future__ import annotations

import copy
import email.utils
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from typing import Any

import requests

from st2actions_mistral.client import limits, retry
from st2actions_mistral.client import session as http
from st2actions_mistral.client.auth import HeaderSource, authenticated
from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.errors import Answered, OutcomeUnknown, RemoteError


class Api:
    """Calls to one API. Threads may share it.

    :param url: without a trailing slash.
    :param sleep: waits between two attempts.
    :param stop: once set, nothing is retried.
    :param judge: returns the error that a 5xx of this service is; the service may tell in its message
        that the same request fails each time.
    """

    def __init__(
        self,
        url: str,
        session: http.Session,
        credential: HeaderSource,
        timeouts: Timeouts,
        *,
        sleep: retry.Sleep = time.sleep,
        stop: threading.Event | None = None,
        judge: Callable[[OutcomeUnknown], RemoteError] | None = None,
        bounds: limits.Limits = limits.DEFAULT,
    ) -> None:
        self.url = url
        self._session = session
        self._credential = credential
        self._timeouts = timeouts
        self._sleep = sleep
        self._stop = stop
        self._judge = judge
        self._bounds = bounds
        # Shared with the siblings: the time of the last response, and nothing before the first one.
        self._last_contact: list[float] = []

    def sibling(self, credential: HeaderSource) -> Api:
        """Return the same API with another credential. Both share the connections and last contact."""
        made = copy.copy(self)
        made._credential = credential
        return made

    @property
    def last_contact(self) -> float:
        """The time of the last response, whatever it was; seconds as ``time.time``, 0 for none."""
        if not self._last_contact:
            return 0.0
        # The age comes from a clock that nobody sets, so that it stays right if the time is set.
        return time.time() - (time.monotonic() - self._last_contact[0])

    def once(
        self,
        method: str,
        path: str,
        *,
        expect: type = dict,
        texts: Collection[str] = (),
        **request: Any,
    ) -> Any:
        """Send a request, without a retry; only a 401 may renew the token and send it again.

        :param path: below :attr:`url`; the caller quotes parts that come from elsewhere.
        :param expect: an object (dict) or a list of objects.
        :param texts: the keys under which each object must have a string.
        :param request: ``params``, ``headers``, ``json`` or ``data``.
        :return: the decoded JSON of a 2xx.
        :raises RemoteError: see ``client.session.send``; OutcomeUnknown also if the response has
            another shape.
        """
        response = self._response(method, path, **request)
        return http.json_body(response, method, self.url + path, expect, texts)

    def counts(self, path: str, params: Mapping[str, Any]) -> tuple[int, int | None]:
        """Return how many rows one page of a listing shows, and how many rows the server counts.

        The count is the header ``X-Total-Count``; None where there is none. One request, no retry.
        """
        response = self._response("GET", path, params=params)
        rows = http.json_body(response, "GET", f"{self.url}{path}", list)
        total = response.headers.get("X-Total-Count", "")
        return len(rows), int(total) if total.isdecimal() else None

    def clock(self, path: str) -> datetime | None:
        """Return the time of the service, in whole seconds; None where it does not tell.

        :param path: something that a GET returns, see :meth:`once`.
        """
        return _date(self._response("GET", path).headers.get("Date"))

    def _response(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
    ) -> requests.Response:
        """Return the whole response; otherwise as :meth:`once`."""

        def send(credential: dict[str, str]) -> requests.Response:
            try:
                response = http.send(
                    self._session,
                    method,
                    self.url + path,
                    self._timeouts,
                    params=params,
                    headers={**(headers or {}), **credential},
                    json=json,
                    data=data,
                    bounds=self._bounds,
                )
            except Answered:
                self._note_contact()
                raise
            except OutcomeUnknown as error:
                judged = self._judge(error) if self._judge else error
                if judged is error:
                    raise
                self._note_contact()
                raise judged from error
            self._note_contact()
            return response

        return authenticated(self._credential, send)

    def _note_contact(self) -> None:
        self._last_contact[:] = [time.monotonic()]

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Send a request that is safe to repeat, until the deadline. Arguments as for :meth:`once`."""
        return self.retrying()(self.once, method, path, **request)

    def retrying(self, *, repeat_unknown: bool = True) -> Any:
        """Return the retry policy for several requests that are retried together."""
        return retry.policy(
            self._timeouts, repeat_unknown=repeat_unknown, sleep=self._sleep, stop=self._stop
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        self._session.close()


def _date(header: str | None) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(header or "")
    except (TypeError, ValueError, OverflowError):
        return None
    # HTTP's dates are in GMT, also in the old form that does not say so.
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)
