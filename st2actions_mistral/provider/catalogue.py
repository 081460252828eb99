"""Keep the actions of StackStorm in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Final

from st2actions_mistral.config.provider import ProviderSettings
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.model.signature import Signature
from st2actions_mistral.provider.listing import Listing
from st2actions_mistral.provider.refresher import Refresher

LOG: Final = logging.getLogger(__name__)

ANY: Final = "**parameters"
"""The input of an action whose parameters are unknown. Mistral does not check it."""


class Catalogue:
    """The actions of the last listing. Threads may share it.

    A question is answered from memory and never waits. The first one starts the listing, in the
    background: Mistral's executors make a provider and ask nothing, so they open no connection.

    :param read: lists the actions.
    """

    def __init__(self, read: Callable[[], Listing], settings: ProviderSettings) -> None:
        self._read = read
        self._settings = settings
        self._refresher = Refresher(self.refresh, settings.refresh_interval)
        # Both are replaced as a whole, and never changed.
        self._actions: Mapping[str, Signature] | None = None
        self._former: Mapping[str, Signature] = {}
        self._failed = False
        self._was_cut = False

    def find(self, ref: str) -> Signature | None:
        """Return an action; None for an unknown one.

        Before the first listing, every name that a StackStorm action could have is one, with the spec
        :data:`ANY`.

        An action that StackStorm has no more is still found: Mistral asks for it when it gets the
        result of a running one. StackStorm rejects it if it is called again.
        """
        self._refresher.ensure_running()
        if self._actions is None:
            return self._unlisted(ref)
        return self._actions.get(ref) or self._former.get(ref)

    def all(self) -> Collection[Signature]:
        """Return the actions of the last listing; none before the first one."""
        self._refresher.ensure_running()
        return (self._actions or {}).values()

    def refresh(self) -> bool:
        """List the actions now, and keep those of the last listing if that fails.

        :return: False if it failed.
        """
        try:
            listing = self._read()
        except St2MistralError as error:
            failure = error.log_text()
        else:
            self._replace(listing)
            return True
        if not self._failed:
            # Once, until it succeeds again.
            LOG.warning(
                "The actions of StackStorm cannot be listed: %s Mistral keeps the %d that it knows.",
                failure,
                len(self._actions or ()),
            )
        self._failed = True
        return False

    def stop(self) -> None:
        """End the background thread. Idempotent."""
        self._refresher.stop()

    def _replace(self, listing: Listing) -> None:
        actions = {action.ref: action for action in listing.actions}
        before = self._actions or {}
        known = {**self._former, **before}
        former = [(ref, action) for ref, action in known.items() if ref not in actions]
        # Those that were known until now are the last ones.
        self._former, self._actions = dict(former[-self._settings.max_actions :]), actions
        if self._failed or actions.keys() != before.keys():
            LOG.info("Mistral has %d actions of StackStorm.", len(actions))
        if listing.is_cut and not self._was_cut:
            LOG.warning(
                "StackStorm has more actions than [st2_provider] max_actions, %d. Mistral does not get"
                " all of them. Choose packs, or set it to more.",
                self._settings.max_actions,
            )
        self._failed, self._was_cut = False, listing.is_cut

    def _unlisted(self, ref: str) -> Signature | None:
        """Return an action with unknown parameters, if StackStorm may have one of this name.

        With more than one dot the name may be that of a workbook and an action.
        """
        pack, _, name = ref.partition(".")
        if not pack or not name or "." in name or not self._settings.has_pack(pack):
            return None
        return Signature(ref, "", ANY)
