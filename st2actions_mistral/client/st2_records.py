"""List records of StackStorm's API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from st2actions_mistral.client import limits, retry, st2_messages
from st2actions_mistral.client.api import Api
from st2actions_mistral.client.auth import St2Credential
from st2actions_mistral.client.session import new_session
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.errors import Answered

DEFAULT_PAGE_SIZE: Final = 100
"""StackStorm's default.

A lower ``[api] max_page_size`` rejects larger pages with 403, except for administrators.
"""


@dataclass(frozen=True)
class Kind:
    """A kind of record that StackStorm lists."""

    path: str
    attributes: str
    """The attributes to ask for, unless a query asks for others."""
    texts: Sequence[str]
    """The keys under which each record must have a string."""


_EXECUTIONS: Final = Kind("/executions", "status,context", ("id", "status"))


class St2Records:
    """The connection to one StackStorm, and its listings."""

    def __init__(
        self,
        settings: St2Settings,
        *,
        sleep: retry.Sleep = time.sleep,
        stop: threading.Event | None = None,
        bounds: limits.Limits = limits.DEFAULT,
    ) -> None:
        self._page_size = DEFAULT_PAGE_SIZE
        self._bounds = bounds
        session = new_session(settings.tls)
        self._api = Api(
            settings.api_url,
            session,
            St2Credential(settings, session),
            settings.timeouts,
            sleep=sleep,
            stop=stop,
            judge=st2_messages.judge,
            bounds=bounds,
        )

    def _list(self, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield the executions that match a query.

        Each has ``id``, ``status`` and ``context``, unless the query asks for other attributes.
        """
        return self._rows(self._api.call, query, _EXECUTIONS)

    def _rows(
        self, call: Callable[..., Any], query: Mapping[str, str], kind: Kind
    ) -> Iterator[dict[str, Any]]:
        """Yield the records of a kind that match a query.

        :param call: ``Api.call`` or ``Api.once``.
        """
        progress = limits.Progress(self._api.url + kind.path, self._bounds)
        offset = 0
        while True:
            page = self._page(call, {**query, "offset": offset}, kind)
            yield from page
            if len(page) < self._page_size:
                return
            progress.add(page)
            offset += len(page)

    def _page(
        self, call: Callable[..., Any], query: Mapping[str, Any], kind: Kind = _EXECUTIONS
    ) -> list[dict[str, Any]]:
        """Return one page of a listing. It has fewer rows if StackStorm allows no more.

        :param call: ``Api.call`` or ``Api.once``.
        """
        query = {"include_attributes": kind.attributes, **query, "limit": self._page_size}
        request = {"expect": list, "texts": kind.texts}
        try:
            page: list[dict[str, Any]] = call("GET", kind.path, params=query, **request)
        except Answered as error:
            allowed = st2_messages.page_limit(error)
            if allowed is None or allowed >= query["limit"]:
                raise
            self._page_size = allowed
            page = call("GET", kind.path, params={**query, "limit": allowed}, **request)
        return page
