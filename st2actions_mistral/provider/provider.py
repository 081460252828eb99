"""The action provider: Mistral asks it for the actions that StackStorm has."""

from __future__ import annotations

import logging
from typing import Any, Final

from mistral_lib.actions import ActionProvider
from oslo_config import cfg

from st2actions_mistral.config import load_bridge_settings
from st2actions_mistral.config.provider import load_provider_settings
from st2actions_mistral.errors import ConfigError
from st2actions_mistral.provider.catalogue import ANY, Catalogue
from st2actions_mistral.provider.native_action import NativeAction
from st2actions_mistral.provider.others import Others
from st2actions_mistral.provider.shared import catalogue_for

LOG: Final = logging.getLogger(__name__)


class St2ActionProvider(ActionProvider):
    """Offers StackStorm's actions, if ``[st2_provider] enabled`` is set.

    An engine asks it within a transaction of its database, so it answers from memory. Actions of the
    same name of other providers win: Mistral's own ones, and the ad-hoc actions of its users.

    :param name: the name of its entry point.
    """

    def __init__(self, name: str = "st2") -> None:
        super().__init__(name)
        self._catalogue = _catalogue()
        self._others = Others(name)

    def find(self, action_name: str, namespace: str | None = None) -> Any:
        """Return the action of this name; None if there is none."""
        if self._catalogue is None or self._others.are_asked:
            return None
        action = self._catalogue.find(action_name)
        if action is None:
            return None
        winner = self._others.find_first(action_name, namespace)
        if winner is not None:
            return winner
        if action.spec == ANY:
            # An engine asks for BOOK.ACTION first, where a workbook calls any action by its name.
            short = action_name.partition(".")[2]
            if self._others.find(short, namespace) is not None:
                return None
        return NativeAction(action)

    def find_all(self, **query: Any) -> list[NativeAction]:
        """Return all actions.

        :param query: how Mistral wants them selected and sorted, which it does itself.
        """
        if self._catalogue is None or self._others.are_asked:
            return []
        actions = self._catalogue.all()
        hidden = self._others.names(**query) if actions else ()
        return [NativeAction(action) for action in actions if action.ref not in hidden]


def _catalogue() -> Catalogue | None:
    """Return the catalogue; None if the provider is off."""
    try:
        settings = load_provider_settings(cfg.CONF)
        if not settings.enabled:
            return None
        return catalogue_for(load_bridge_settings(cfg.CONF).st2, settings)
    except ConfigError as error:
        # Raised again, it would end Mistral's service.
        reason = str(error)
    LOG.error("Mistral gets no actions of StackStorm: %s", reason)
    return None
