"""Read StackStorm's actions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from st2actions_mistral.client.address import segment
from st2actions_mistral.client.session import check_shape
from st2actions_mistral.client.st2_records import Kind, St2Records
from st2actions_mistral.errors import Answered
from st2actions_mistral.model.st2_action import St2Action

# The views have the parameters of the runners too.
_OVERVIEW: Final = Kind("/actions/views/overview", "ref,description,enabled,parameters", ("id", "ref"))


class St2Actions(St2Records):
    """The actions of one StackStorm."""

    def action(self, ref: str) -> St2Action | None:
        """Return an action with its parameters and those of its runner; None for an unknown action.

        :raises Answered: 403 if the user may not see the action.
        """
        # The view of the parameters only accepts no reference before 3.9.
        path = f"{_OVERVIEW.path}/{segment(ref)}"
        try:
            action = self._api.call("GET", path, texts=["ref"])
        except Answered as error:
            if error.status == 404:
                return None
            raise
        found = check_shape(action.get("parameters"), "parameters", "GET", f"{self._api.url}{path}")
        parameters = {name: it if isinstance(it, dict) else {} for name, it in found.items()}
        return St2Action(parameters, enabled=action.get("enabled") is not False)

    def actions(self) -> Iterator[dict[str, Any]]:
        """Yield all actions by pack and name, without a retry.

        Each row has ``id`` and ``ref``, and where StackStorm has them ``description``, ``enabled`` and
        ``parameters``: those of the action and those of its runner.
        """
        return self._rows(self._api.once, {}, _OVERVIEW)
