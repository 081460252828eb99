"""Retry a call until its deadline: one policy for every call, with tenacity.

A request that was not sent and a 429 are retried. An unknown outcome is retried only if the call is
safe to repeat, or looks its outcome up first (``bridge.schedule``). Every other answer is final.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import tenacity

from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, St2MistralError

LOG: Final = logging.getLogger(__name__)

# Seconds between two attempts: random, below a bound that starts at _FIRST_PAUSE and doubles up to
# _LONGEST_PAUSE. With a fixed pause, 300 requests that were rejected together would come back together.
_FIRST_PAUSE: Final = 0.4
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0

Sleep = Callable[[float], None]


def policy(
    timeouts: Timeouts,
    *,
    repeat_unknown: bool = True,
    sleep: Sleep = time.sleep,
    stop: threading.Event | None = None,
) -> tenacity.Retrying:
    """Return the policy for one call, used as ``policy(…)(function)``.

    It raises the last error once the next pause would exceed ``retry_deadline``.

    :param repeat_unknown: retry after an unknown outcome.
    :param sleep: waits where there is no ``stop``; tests inject their own.
    :param stop: once set, a pause ends at once and nothing is retried.
    """
    failed: list[BaseException] = []

    def before_pause(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        failed[:] = [error] if error else []
        _log(state)

    def pause(seconds: float) -> None:
        if stop is None:
            sleep(seconds)
        elif stop.wait(seconds):
            # tenacity checks for a stop only before a pause.
            raise failed[0]

    def is_retryable(error: BaseException) -> bool:
        if isinstance(error, NotSent):
            return not error.permanent
        if isinstance(error, OutcomeUnknown):
            return repeat_unknown
        return isinstance(error, Answered) and error.status == 429

    stops = tenacity.stop_before_delay(timeouts.retry_deadline)
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_retryable),
        wait=_pause,
        stop=stops | tenacity.stop_when_event_set(stop) if stop else stops,
        sleep=pause,
        before_sleep=before_pause,
        reraise=True,
    )


_backoff = tenacity.wait_random_exponential(
    multiplier=_FIRST_PAUSE, min=_SHORTEST_PAUSE, max=_LONGEST_PAUSE
)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    return max(float(asked or 0), _backoff(state))


def _log(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0
    text = error.log_text() if isinstance(error, St2MistralError) else error
    LOG.info("%s Retrying in %.1f s (attempt %d).", text, pause, state.attempt_number + 1)
