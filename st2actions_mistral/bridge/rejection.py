"""Tell whether a server rejects the body of a request, or only this attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.errors import NotSent, OutcomeUnknown, RemoteError

# Characters of JSON. A connection that breaks with a smaller body does not break for its size.
_LARGE: Final = 65536


def breaks_on(error: OutcomeUnknown, body: Mapping[str, Any]) -> bool:
    """Return True if the body may be why a PUT of it has no usable answer, however often it is sent.

    True for a 500, and for a connection that breaks under a large body.
    """
    if error.method != "PUT":
        return False
    return error.status == 500 or (error.status is None and len(json.dumps(body)) >= _LARGE)


def may_be_for_body(error: RemoteError) -> bool:
    """Return True if the body of a request that creates or completes may be why it failed.

    It is if the request goes on failing in this way. True for a 500; for a PUT also for a 403 (from a
    firewall, for example) and a connection that breaks.
    """
    if isinstance(error, NotSent):
        return False
    if error.method == "POST":
        # Not that of a token.
        return error.url.endswith("/executions") and error.status == 500
    return error.method == "PUT" and error.status in (None, 403, 500)
