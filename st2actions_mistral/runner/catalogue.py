"""Look up actions and workflows in the two systems."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from st2actions_mistral.bridge.native import is_native
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.model.st2_action import St2Action

_WITH_YAQL: Final = "{version: '2.0', uses.yaql: {tasks: {task: {publish: {value: <% 1 %>}}}}}"


class ActionCatalogue:
    """A ``dsl.calls.Catalogue`` that looks up each name once.

    All methods raise RemoteError if the system does not respond.

    :param action: returns a StackStorm action; None for an unknown one.
    :param published_too: workflows that will be in Mistral before they are started.
    """

    def __init__(
        self,
        action: Callable[[str], St2Action | None],
        mistral: MistralClient,
        published_too: Collection[str] = (),
    ) -> None:
        self._ask_stackstorm = action
        self._mistral = mistral
        self._actions: dict[str, St2Action | None] = {}
        self._in_mistral: dict[str, Mapping[str, Any] | None] = {}
        self._workflows = dict.fromkeys(published_too, True)
        self._allows_yaql: bool | None = None

    def action(self, ref: str) -> St2Action | None:
        """Return a StackStorm action; None for an unknown one."""
        if ref not in self._actions:
            self._actions[ref] = self._ask_stackstorm(ref)
        return self._actions[ref]

    def in_mistral(self, name: str) -> bool:
        """Return True if Mistral has an action of this name that is not native."""
        found = self._mistral_action(name)
        return found is not None and not is_native(found)

    def is_native(self, name: str) -> bool:
        """Return True if the action of this name in Mistral is StackStorm's."""
        return is_native(self._mistral_action(name))

    def workflow_in_mistral(self, name: str) -> bool:
        """Return True if Mistral has, or will have, a workflow of this name."""
        if name not in self._workflows:
            self._workflows[name] = self._mistral.knows_workflow(name)
        return self._workflows[name]

    def allows_yaql(self) -> bool:
        """Return True if Mistral evaluates YAQL, and False if it evaluates Jinja only.

        No request shows ``[expressions] allowed_languages``, so a workflow with YAQL is validated.
        """
        if self._allows_yaql is None:
            self._allows_yaql = self._mistral.validate(_WITH_YAQL, "workflow") is None
        return self._allows_yaql

    def _mistral_action(self, name: str) -> Mapping[str, Any] | None:
        if name not in self._in_mistral:
            self._in_mistral[name] = self._mistral.action(name)
        return self._in_mistral[name]
