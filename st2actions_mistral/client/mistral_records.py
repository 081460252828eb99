"""Get and list records of Mistral's API."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from st2actions_mistral.client import retry
from st2actions_mistral.client.api import Api
from st2actions_mistral.client.auth import Anonymous, MistralCredential
from st2actions_mistral.client.limits import Progress
from st2actions_mistral.client.mistral_rules import RULES, RuleRequest
from st2actions_mistral.client.session import check_shape, new_session
from st2actions_mistral.client.settings import MistralSettings
from st2actions_mistral.errors import Answered
from st2actions_mistral.model.project import Scope

if TYPE_CHECKING:
    from typing_extensions import Self

# Rows of one page. Mistral's own limit ([api] max_limit) may be lower. Its response tells whether there
# are more.
_PAGE: Final = 200


class MistralRecords:
    """The part of Mistral's API that is the same for every kind of record.

    Records are dicts as Mistral's API shows them. Threads may share it; connections are kept.
    """

    def __init__(
        self,
        settings: MistralSettings,
        *,
        credential: MistralCredential | None = None,
        sleep: retry.Sleep = time.sleep,
        stop: threading.Event | None = None,
    ) -> None:
        self._credential = credential
        self._api = Api(
            settings.url,
            new_session(settings.tls),
            credential or Anonymous("Mistral requires authentication."),
            settings.timeouts,
            sleep=sleep,
            stop=stop,
        )

    def sibling(self, credential: MistralCredential) -> Self:
        """Return a client for another credential, which shares the connections of this one.

        It is closed with this one.
        """
        made = copy.copy(self)
        made._credential = credential
        made._api = self._api.sibling(credential)
        return made

    @property
    def credential(self) -> MistralCredential | None:
        """The credential; None where Mistral has no authentication."""
        return self._credential

    def scope(self) -> Scope | None:
        """Return the project of the token; None where Mistral has no authentication.

        :raises RemoteError: keystone cannot be reached, or rejects the credential.
        """
        return self._credential.scope() if self._credential else None

    def denied_rules(self, rules: Iterable[str]) -> list[str]:
        """Return the rules that Mistral's policy does not have for the user.

        :param rules: keys of ``mistral_rules.RULES``.
        :raises RemoteError: Mistral does not respond.
        """
        return [rule for rule in rules if self._is_denied(RULES[rule])]

    def last_contact(self) -> float:
        """Return the time of the last response; seconds as ``time.time``, 0 for none."""
        return self._api.last_contact

    def close(self) -> None:
        """Close the connections that are kept."""
        self._api.close()

    def _is_denied(self, request: RuleRequest) -> bool:
        try:
            self._api.once(request.method, request.path, json=request.body)
        except Answered as error:
            return error.status == 403
        return False

    def _get(self, path: str, texts: Collection[str] = ("id", "state")) -> dict[str, Any] | None:
        """Return one record; None if there is none."""
        found: dict[str, Any] | None = self._api.retrying()(self._get_once, path, texts)
        return found

    def _get_once(self, path: str, texts: Collection[str] = ("id", "state")) -> dict[str, Any] | None:
        """Do the same as :meth:`_get`, without a retry."""
        try:
            found: dict[str, Any] = self._api.once("GET", path, texts=texts)
        except Answered as error:
            if error.status == 404:
                return None
            raise
        return found

    def _list(self, name: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield all rows of a listing, the oldest first."""
        progress = Progress(f"{self._api.url}/{name}")
        marker: str | None = None
        while True:
            page = {**params, "limit": _PAGE, **({"marker": marker} if marker else {})}
            rows, more = self._page(name, page)
            yield from rows
            if not rows or not more:
                return
            progress.add(rows)
            marker = rows[-1]["id"]

    def _page(
        self, path: str, params: Mapping[str, Any], key: str | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return one page of a listing, and True if there are more.

        :param key: of the rows in the response; None: the path.
        """
        page = self._api.call("GET", f"/{path}", params=params)
        key = key or path
        rows = check_shape(page.get(key), key, "GET", f"{self._api.url}/{path}", list, ["id"])
        return rows, "next" in page


def any_of(values: Iterable[str]) -> str:
    """Return the filter that matches any of these values."""
    return f"in:{','.join(values)}"
