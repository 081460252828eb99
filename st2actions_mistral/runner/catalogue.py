"""Look up actions and workflows in the two systems."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from st2actions_mistral.client.mistral import MistralClient

Parameters = Mapping[str, Mapping[str, Any]]


class ActionCatalogue:
    """A ``dsl.calls.Catalogue`` that looks up each name once.

    All methods raise RemoteError if the system does not respond.

    :param parameters: returns the parameters of a StackStorm action, with those of its runner; None for
        an unknown action.
    :param published_too: workflows that will be in Mistral before they are started.
    """

    def __init__(
        self,
        parameters: Callable[[str], Parameters | None],
        mistral: MistralClient,
        published_too: Collection[str] = (),
    ) -> None:
        self._ask_stackstorm = parameters
        self._mistral = mistral
        self._parameters: dict[str, Parameters | None] = {}
        self._in_mistral: dict[str, bool] = {}
        self._workflows = dict.fromkeys(published_too, True)

    def parameters(self, ref: str) -> Parameters | None:
        """Return the parameters of a StackStorm action; None for an unknown action."""
        if ref not in self._parameters:
            self._parameters[ref] = self._ask_stackstorm(ref)
        return self._parameters[ref]

    def in_mistral(self, name: str) -> bool:
        """Return True if Mistral has an action of this name."""
        if name not in self._in_mistral:
            self._in_mistral[name] = self._mistral.knows_action(name)
        return self._in_mistral[name]

    def workflow_in_mistral(self, name: str) -> bool:
        """Return True if Mistral has, or will have, a workflow of this name."""
        if name not in self._workflows:
            self._workflows[name] = self._mistral.knows_workflow(name)
        return self._workflows[name]
