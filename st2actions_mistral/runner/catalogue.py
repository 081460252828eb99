"""What actions there are in the two systems."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from st2actions_mistral.client.mistral import MistralClient

Parameters = Mapping[str, Mapping[str, Any]]


class Actions:
    """A ``dsl.calls.Catalogue``. Each name is asked for once; make a new one for a new look.

    :param parameters: asks StackStorm for the parameters of an action, its runner's included.
    :param mistral: is asked whether it has an action or a workflow. Both may raise RemoteError.
    :param published_too: workflows that Mistral will have once it matters.
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
        """The parameters of a StackStorm action; None where there is none of that name."""
        if ref not in self._parameters:
            self._parameters[ref] = self._ask_stackstorm(ref)
        return self._parameters[ref]

    def in_mistral(self, name: str) -> bool:
        """Whether Mistral has an action of this name."""
        if name not in self._in_mistral:
            self._in_mistral[name] = self._mistral.knows_action(name)
        return self._in_mistral[name]

    def workflow_in_mistral(self, name: str) -> bool:
        """Whether Mistral has, or will have, a workflow of this name."""
        if name not in self._workflows:
            self._workflows[name] = self._mistral.knows_workflow(name)
        return self._workflows[name]
