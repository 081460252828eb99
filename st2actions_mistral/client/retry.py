"""When a call is tried again, and for how long: one policy for every call, on tenacity.

Not sent and 429 are tried again as they are. An unknown outcome is tried again only where the call
is safe to repeat, or where its author looks first (``bridge.schedule``). Every other answer is
final.
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

# Seconds between two tries: at random below a bound that starts at the first figure and doubles up to
# the last. At random, so that 300 children that were refused at once do not come back at once.
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
    """The policy for one call, used as ``policy(…)(function)``.

    It gives up before ``retry_deadline`` would be overrun by the next pause, and raises the last
    error as it was.

    :param repeat_unknown: whether the call may be repeated although its outcome is unknown.
    :param sleep: how to wait where there is no ``stop``; tests inject their own.
    :param stop: once set, no further try is made and a pause ends at once.
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
            # tenacity asks about stopping before a pause only.
            raise failed[0]

    def is_worth_another_try(error: BaseException) -> bool:
        if isinstance(error, NotSent):
            return not error.permanent
        if isinstance(error, OutcomeUnknown):
            return repeat_unknown
        return isinstance(error, Answered) and error.status == 429

    stops = tenacity.stop_before_delay(timeouts.retry_deadline)
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_worth_another_try),
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
    said = error.log_text() if isinstance(error, St2MistralError) else error
    LOG.info("%s Trying again in %.1f s (try %d).", said, pause, state.attempt_number + 1)
