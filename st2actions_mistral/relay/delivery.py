"""Bring results to Mistral, many at once, each once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from st2actions_mistral.client.mistral import MistralClient
from st2actions_mistral.client.st2 import St2Client
from st2actions_mistral.config import RelaySettings
from st2actions_mistral.errors import St2MistralError
from st2actions_mistral.relay import reconcile

LOG: Final = logging.getLogger(__name__)

# Results that wait for a worker. What is above is left to the next sweep, so that a burst takes
# neither memory without bound nor the place of what comes after it.
_WAITING: Final = 2000


class Delivery:
    """Completes Mistral's actions with the results of their children.

    One action is worked on by one worker at a time; different ones side by side.
    """

    def __init__(self, st2: St2Client, mistral: MistralClient, settings: RelaySettings) -> None:
        self._st2 = st2
        self._mistral = mistral
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="deliver")
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    def offer(
        self,
        action_execution_id: str,
        execution_id: str,
        *,
        child: Mapping[str, Any] | None = None,
    ) -> Future[bool] | None:
        """Have a final child's result delivered, unless that is under way.

        :param child: the whole execution where it is at hand; else it is fetched.
        :return: a future of whether it was delivered, None where nothing was begun.
        """
        with self._lock:
            if action_execution_id in self._under_way or len(self._under_way) >= _WAITING:
                return None
            self._under_way.add(action_execution_id)
        try:
            return self._pool.submit(self._deliver, action_execution_id, execution_id, child)
        except RuntimeError:
            # The pool is closed: the relay is about to end, and its successor sweeps.
            self._done(action_execution_id)
            return None

    def close(self) -> None:
        """Finish what a worker has begun, forget what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _deliver(
        self, action_execution_id: str, execution_id: str, child: Mapping[str, Any] | None
    ) -> bool:
        try:
            return self._level(action_execution_id, execution_id, child)
        except St2MistralError as error:
            LOG.warning(
                "The result of StackStorm execution %s did not reach action execution %s yet: %s",
                execution_id,
                action_execution_id,
                error,
            )
        except Exception:
            LOG.exception(
                "The result of StackStorm execution %s for action execution %s cannot be handled.",
                execution_id,
                action_execution_id,
            )
        finally:
            self._done(action_execution_id)
        return False

    def _level(
        self, action_execution_id: str, execution_id: str, child: Mapping[str, Any] | None
    ) -> bool:
        action = self._mistral.get_action(action_execution_id)
        base = base_of(self._mistral, action["name"]) if action else None
        if child is None:
            child = self._st2.get_execution(execution_id)
        effect = reconcile.settle(
            action,
            child,
            base=base,
            site=self._settings.site,
            limit_kb=self._settings.field_size_limit_kb,
        )
        if isinstance(effect, reconcile.Leave):
            LOG.debug("Action execution %s: %s.", action_execution_id, effect.reason)
            return False
        assert child is not None
        delivered = self._mistral.complete_action(
            effect.action_execution_id, effect.state, effect.output
        )
        if delivered:
            LOG.info(
                "Delivered: StackStorm execution %s %s, action execution %s %s.",
                execution_id,
                child["status"],
                action_execution_id,
                effect.state,
            )
        else:
            LOG.info(
                "Action execution %s was complete before the result of StackStorm execution %s.",
                action_execution_id,
                execution_id,
            )
        return delivered

    def _done(self, action_execution_id: str) -> None:
        with self._lock:
            self._under_way.discard(action_execution_id)


def base_of(mistral: MistralClient, action_name: str) -> str:
    """As ``MistralClient.base_of``, which need not be asked for the usual name."""
    return action_name if action_name == reconcile.ACTION_NAME else mistral.base_of(action_name)
