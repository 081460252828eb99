"""One HTTP API: its URL, its session, who we are there, and how often a call is tried."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import requests

from st2actions_mistral.client import http_date, retry
from st2actions_mistral.client import session as http
from st2actions_mistral.client.credentials import HeaderSource
from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.errors import Answered


class Api:
    """Calls under one URL. Safe to share between threads.

    :param url: without a trailing slash.
    :param sleep: how to wait between two tries.
    :param stop: once set, nothing is tried again.
    """

    def __init__(
        self,
        url: str,
        session: requests.Session,
        credential: HeaderSource,
        timeouts: Timeouts,
        *,
        sleep: retry.Sleep = time.sleep,
        stop: threading.Event | None = None,
    ) -> None:
        self.url = url
        self._session = session
        self._credential = credential
        self._timeouts = timeouts
        self._sleep = sleep
        self._stop = stop
        self._heard: float | None = None

    @property
    def last_contact(self) -> float:
        """When the service answered last, whatever it said; seconds as ``time.time``, 0 for never."""
        # By the clock as it is set now: how long ago it was is kept by one that nobody sets.
        return 0.0 if self._heard is None else time.time() - (time.monotonic() - self._heard)

    def once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        expect: type = dict,
        texts: Collection[str] = (),
    ) -> Any:
        """Send a request, once; once more where a 401 can be mended.

        :param path: below :attr:`url`; parts that come from elsewhere are quoted by the caller.
        :param expect: what the answer has to be: an object (dict) or a list of objects.
        :param texts: the keys under which each of these objects has to have a text.
        :return: the decoded JSON of a 2xx.
        :raises RemoteError: see ``client.session.send``; OutcomeUnknown also where the answer is
            nothing that the service could have said.
        """
        response = self._response(method, path, params=params, headers=headers, json=json, data=data)
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
        """What time it is where the service is, in whole seconds; None where it does not say.

        :param path: something that a GET gives, see :meth:`once`.
        """
        return http_date.read(self._response("GET", path).headers.get("Date"))

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

        def attempt(ours: dict[str, str]) -> requests.Response:
            try:
                response = http.send(
                    self._session,
                    method,
                    self.url + path,
                    self._timeouts,
                    params=params,
                    headers={**(headers or {}), **ours},
                    json=json,
                    data=data,
                )
            except Answered:
                self._heard = time.monotonic()
                raise
            self._heard = time.monotonic()
            return response

        ours = self._credential.headers()
        try:
            return attempt(ours)
        except Answered as error:
            if error.status != 401:
                raise
            if not self._credential.renew(ours):
                raise self._with_hint(error) from error
            renewed = self._credential.headers()
            try:
                return attempt(renewed)
            except Answered as again:
                raise (self._with_hint(again) if again.status == 401 else again) from error

    def call(self, method: str, path: str, **request: Any) -> Any:
        """A call that is safe to repeat, tried until the deadline. Arguments as for :meth:`once`."""
        return self.retrying()(self.once, method, path, **request)

    def retrying(self, *, repeat_unknown: bool = True) -> Any:
        """The retry policy for a call that its author spells out."""
        return retry.policy(
            self._timeouts, repeat_unknown=repeat_unknown, sleep=self._sleep, stop=self._stop
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        self._session.close()

    def _with_hint(self, error: Answered) -> Answered:
        return advised(error, self._credential.hint())


def advised(error: Answered, hint: str) -> Answered:
    """The same refusal, with what to do about it after the other side's words."""
    message = f"{sentence(error.message)} {hint}".strip() if hint else error.message
    return Answered(error.method, error.url, error.status, message, hint=hint)


def sentence(words: str) -> str:
    """Somebody else's words, for more to come after them: with a full stop where they have no end."""
    return words if not words or words.endswith((".", "!", "?", "…", ":")) else f"{words}."
