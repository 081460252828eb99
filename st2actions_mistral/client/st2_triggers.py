"""Create instances of triggers over StackStorm's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.client.address import segment
from st2actions_mistral.client.st2_records import St2Records
from st2actions_mistral.errors import Answered

# StackStorm's own webhook, which takes any trigger. There is no other way over the API.
_WEBHOOK: Final = "/webhooks/st2"


class St2Triggers(St2Records):
    """The triggers of one StackStorm."""

    def dispatch_trigger(self, trigger: str, payload: Mapping[str, Any]) -> None:
        """Create an instance of a trigger, for which StackStorm then looks for rules.

        :param trigger: ``pack.name``. It must not have parameters.
        :raises Answered: 400 for an unknown trigger, or if the payload does not match its schema; 403
            without the permission ``webhook_send``.
        :raises OutcomeUnknown: the instance may exist. The request is not repeated.
        """
        self._api.retrying(repeat_unknown=False)(
            self._api.once, "POST", _WEBHOOK, json={"trigger": trigger, "payload": dict(payload)}
        )

    def knows_trigger(self, trigger: str) -> bool:
        """Return True if there is a trigger type of this reference."""
        try:
            self._api.call("GET", f"/triggertypes/{segment(trigger)}", texts=["ref"])
        except Answered as error:
            if error.status != 404:
                raise
            return False
        return True

    def may_dispatch(self) -> bool:
        """Return True if the user may create instances of triggers. None is created.

        StackStorm checks the permission first, and then rejects a request that names no trigger.
        """
        try:
            self._api.retrying(repeat_unknown=False)(self._api.once, "POST", _WEBHOOK, json={})
        except Answered as error:
            if error.status == 403:
                return False
            if error.status != 400:
                raise
        return True
