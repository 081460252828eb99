"""Check the action provider: its options, and the actions that Mistral has because of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from oslo_config import cfg

from st2actions_mistral.bridge.native import is_native
from st2actions_mistral.cli.checks.finding import CheckFailed
from st2actions_mistral.cli.checks.mistral_options import provider_problems
from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.config.provider import load_provider_settings
from st2actions_mistral.errors import Answered

# Questions for the actions, and seconds between two: Mistral's API lists those of StackStorm when it is
# asked for the first time.
_QUESTIONS: Final = 6
_PAUSE: Final = 1.0


def native_actions(
    conf: cfg.ConfigOpts, mistral: MistralClient, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Check that Mistral has StackStorm's actions, if the provider is on.

    :param sleep: gives Mistral's API the time to list them.
    """
    settings = load_provider_settings(conf)
    problems = list(provider_problems(conf)) if settings.enabled else []
    if problems:
        raise CheckFailed(
            f"Mistral's options hide StackStorm's actions. {' '.join(problems)} Then restart Mistral's"
            " API and engines."
        )
    try:
        number = _count(mistral)
        for _ in range(_QUESTIONS - 1 if settings.enabled and not number else 0):
            sleep(_PAUSE)
            number = _count(mistral)
            if number:
                break
    except Answered as error:
        if error.status != 403:
            raise
        enabled = str(settings.enabled).lower()
        return f"[st2_provider] enabled is {enabled}; Mistral does not let this user list its actions"
    if settings.enabled and not number:
        raise CheckFailed(
            "[st2_provider] enabled is true, but Mistral's API has no action of StackStorm. Set it in"
            " the configuration of Mistral's API and of all engines, and restart them. If it is set,"
            " their logs say why StackStorm's actions cannot be listed."
        )
    if not settings.enabled:
        # The configuration of a relay need not have the option.
        elsewhere = f", but Mistral's API has {number} actions of StackStorm" if number else ""
        return f"[st2_provider] enabled is false{elsewhere}"
    return f"Mistral has {number} actions of StackStorm"


def _count(mistral: MistralClient) -> int:
    return sum(map(is_native, mistral.actions()))
