"""Tell whether a server rejects the body of a request, or only this attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from st2actions_mistral.errors import OutcomeUnknown

# Characters of JSON. A connection that breaks with a smaller body does not break for its size.
_LARGE: Final = 65536


def breaks_on(error: OutcomeUnknown, body: Mapping[str, Any]) -> bool:
    """Return True if the body may be why a PUT of it has no usable answer, however often it is sent.

    True for a 500, and for a connection that breaks under a large body.
    """
    if error.method != "PUT":
        return False
    return error.status == 500 or (error.status is None and len(json.dumps(body)) >= _LARGE)
