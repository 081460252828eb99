"""Clients that retry without waiting, and rows as the two systems show them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.settings import Credential, MistralSettings, St2Settings, Timeouts
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.model.context import MistralIds

FAST = Timeouts(connect_timeout=0.3, read_timeout=0.3, retry_deadline=1)
ONE_TRY = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=0)
# The sleeps are short, so a long deadline means many retries.
RETRYING = Timeouts(connect_timeout=5, read_timeout=5, retry_deadline=60)

IDS = MistralIds("mistral", "w", "wf", "t", "a1")
EXECUTION = {"id": "6b03c160746e6986596007f7", "status": "requested"}


class Pauses(list[float]):
    """Stands in for time.sleep: records the pauses and sleeps 0.01 s."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        time.sleep(0.01)


@contextlib.contextmanager
def to_st2(
    url: str, key: str = "k", timeouts: Timeouts = RETRYING, pauses: Pauses | None = None, **more: Any
) -> Iterator[St2Client]:
    settings = St2Settings(url, Credential(api_key=key), timeouts=timeouts)
    # Not `or`: an empty list is false.
    sleep = Pauses() if pauses is None else pauses
    with contextlib.closing(St2Client(settings, sleep=sleep, **more)) as made:
        yield made


@contextlib.contextmanager
def to_mistral(url: str, timeouts: Timeouts = RETRYING, **more: Any) -> Iterator[MistralClient]:
    made = MistralClient(MistralSettings(f"{url}/v2", timeouts=timeouts), sleep=Pauses(), **more)
    with contextlib.closing(made):
        yield made


def child_row(action_execution_id: str = "a1", execution_id: str = "e1") -> dict[str, Any]:
    """Return a child execution as StackStorm lists it."""
    context = {"mistral": {"site": "mistral", "action_execution_id": action_execution_id}}
    return {"id": execution_id, "status": "running", "context": context}


def action_row(state: str = "RUNNING", action_id: str = "a") -> dict[str, Any]:
    """Return an action execution as Mistral lists it."""
    return {"id": action_id, "name": "st2.action", "state": state}
