"""Read StackStorm's error messages, where status and body do not tell the reason."""

from __future__ import annotations

import re
from typing import Final

from st2actions_mistral.errors import Answered, OutcomeUnknown, RemoteError

# MongoDB's message in a 500 of StackStorm about an execution that it does not store.
_TOO_LARGE: Final = "document too large"

_REFUSED_CANCEL: Final = re.compile(r"Action cannot be canceled\. State = (\w+)\.")

_PAGE_LIMIT: Final = re.compile(r'Limit "\d+" specified, maximum value is "([1-9]\d{0,8})"')


def judge(error: OutcomeUnknown) -> RemoteError:
    """Return the error that a 5xx is: one that rejects the request each time is :class:`Answered`."""
    if error.status is None or _TOO_LARGE not in error.message:
        return error
    return Answered(error.method, error.url, error.status, error.message)


def page_limit(error: Answered) -> int | None:
    """Return the page size that StackStorm allows, if it rejects a listing for its page size."""
    found = _PAGE_LIMIT.search(error.message)
    return int(found[1]) if found else None


def rejects_context(error: Answered) -> bool:
    """Return True if StackStorm rejects the header ``st2-context``."""
    return "st2-context" in error.message


def state_of_refusal(message: object) -> str | None:
    """Return the status for which StackStorm refuses to cancel an execution.

    :return: None for any other message.
    """
    found = _REFUSED_CANCEL.match(message) if isinstance(message, str) else None
    return found[1] if found else None
