"""The options of the package (``options``), and what becomes of them (``reading``).

``list_opts`` is what ``oslo-config-generator`` asks for.
"""

from __future__ import annotations

from st2actions_mistral.config.options import (
    TIMEOUT_OPTS,
    keystone_opts,
    list_opts,
    register_opts,
)
from st2actions_mistral.config.reading import (
    RelaySettings,
    checked_keys,
    checked_site,
    context_keys,
    keystone_credential,
    late_after,
    load,
    mistral_credential,
    mistral_settings,
    relay_settings,
    render_jinja,
    site,
    st2_settings,
    timeouts,
    values,
)

__all__ = [
    "TIMEOUT_OPTS",
    "RelaySettings",
    "checked_keys",
    "checked_site",
    "context_keys",
    "keystone_credential",
    "keystone_opts",
    "late_after",
    "list_opts",
    "load",
    "mistral_credential",
    "mistral_settings",
    "register_opts",
    "relay_settings",
    "render_jinja",
    "site",
    "st2_settings",
    "timeouts",
    "values",
]
