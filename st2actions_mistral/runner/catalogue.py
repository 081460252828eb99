"""What actions there are in the two systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Parameters = Mapping[str, Mapping[str, Any]]


class Actions:
    """A ``dsl.wrapping.Catalogue``. Each name is asked for once; make a new one for a new look.

    :param parameters: asks StackStorm for the parameters of an action, its runner's included.
    :param in_mistral: asks Mistral whether it has an action. Both may raise RemoteError.
    """

    def __init__(
        self, parameters: Callable[[str], Parameters | None], in_mistral: Callable[[str], bool]
    ) -> None:
        self._ask_stackstorm = parameters
        self._ask_mistral = in_mistral
        self._parameters: dict[str, Parameters | None] = {}
        self._in_mistral: dict[str, bool] = {}

    def parameters(self, ref: str) -> Parameters | None:
        """The parameters of a StackStorm action; None where there is none of that name."""
        if ref not in self._parameters:
            self._parameters[ref] = self._ask_stackstorm(ref)
        return self._parameters[ref]

    def in_mistral(self, name: str) -> bool:
        """Whether Mistral has an action of this name."""
        if name not in self._in_mistral:
            self._in_mistral[name] = self._ask_mistral(name)
        return self._in_mistral[name]
