"""Clients of Mistral for the users of a keystone."""

from __future__ import annotations

from st2actions_mistral.client.auth import KeystoneCredential
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import MistralSettings
from support.keystone.api import Keystone


def mistral_as(user: str, project: str, keystone: Keystone, settings: MistralSettings) -> MistralClient:
    """Return Mistral as a user sees it with a token for a project."""
    plugin = keystone.password(user, project)
    credential = KeystoneCredential(plugin, settings.tls, settings.timeouts, hint="")
    return MistralClient(settings, credential=credential)
