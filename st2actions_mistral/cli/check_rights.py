"""What StackStorm's RBAC lets us see, as far as a look tells."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone
from typing import Final

from st2actions_mistral.client.credentials import St2Credential
from st2actions_mistral.client.session import json_body, new_session, send
from st2actions_mistral.client.settings import St2Settings
from st2actions_mistral.client.st2 import CLOCK_MARGIN, St2Client
from st2actions_mistral.errors import Answered

# Executions that are asked for, as many as StackStorm shows at once by default ([api] max_page_size).
_PAGE: Final = 100

# An execution that is made between StackStorm's list and its count looks like a hidden one, once.
_LOOKS: Final = 3


def may_list(st2: St2Client, site: str) -> bool:
    """Whether we may list executions, as the relay does to find children."""
    # None was made since now: nothing is read for it.
    since = datetime.now(timezone.utc) + CLOCK_MARGIN
    try:
        next(st2.children_since(site, since), None)
    except Answered as error:
        if error.status == 403:
            return False
        raise
    return True


def executions_are_hidden(settings: St2Settings) -> bool:
    """Whether StackStorm keeps executions from us that it counts: with ``[rbac] permission_isolation``
    it shows those of other users to admins only.

    False also where there are none of other users among the newest ones.
    """
    return all(_shows_fewer(settings) for _ in range(_LOOKS))


def _shows_fewer(settings: St2Settings) -> bool:
    url = f"{settings.api_url}/executions"
    with closing(new_session(settings.tls)) as session:
        response = send(
            session,
            "GET",
            url,
            settings.timeouts,
            params={"include_attributes": "status", "limit": _PAGE},
            headers=St2Credential(settings, session).headers(),
        )
    shown = json_body(response, "GET", url, list)
    there = response.headers.get("X-Total-Count", "")
    return there.isdecimal() and len(shown) < min(_PAGE, int(there))
