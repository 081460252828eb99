"""List the StackStorm actions that the provider offers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from st2actions_mistral.client.limits import Limits
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config.provider import ProviderSettings
from st2actions_mistral.model.signature import Signature, signature_of

# A page has the metadata of a hundred actions: about 300 KB, by a pack of StackStorm's own. Rows count
# whether they are offered or not.
BOUNDS: Final = Limits(response_bytes=16 * 1024 * 1024, listing_rows=200_000)


@dataclass(frozen=True)
class Listing:
    """The actions of one listing."""

    actions: tuple[Signature, ...] = ()
    """By pack and name."""
    is_cut: bool = False
    """True if StackStorm has more than those that are read."""


def list_actions(client: St2Client, settings: ProviderSettings) -> Listing:
    """List the actions that the provider offers.

    :raises RemoteError: StackStorm does not respond, or not as StackStorm does. Nothing is retried.
    """
    found: list[Signature] = []
    for action in _offered(client, settings):
        if len(found) == settings.max_actions:
            return Listing(tuple(found), is_cut=True)
        found.append(action)
    return Listing(tuple(found))


def read_actions(st2: St2Settings, settings: ProviderSettings) -> Listing:
    """Do the same as :func:`list_actions`, with a connection of its own."""
    with closing(St2Client(st2, bounds=BOUNDS)) as client:
        return list_actions(client, settings)


def _offered(client: St2Client, settings: ProviderSettings) -> Iterator[Signature]:
    for row in client.actions():
        action = signature_of(row)
        if action is not None and settings.has_pack(action.pack):
            yield action
