"""The reasons why a request to Mistral is not let through.

::

    Refusal          ``status``, ``retry_after``
    ├── Rejected     401: no credential, or one that StackStorm rejects
    ├── Forbidden    403: the user may not do this
    ├── TooMany      429: too many unknown credentials
    ├── NeedsTrust   501: a feature of Mistral that needs keystone
    └── Unavailable  503: StackStorm could not check the credential
"""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """A request is not let through; the text is for its sender, and names the next step.

    :param retry_after: whole seconds after which another attempt makes sense.
    """

    status: ClassVar[int]

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Rejected(Refusal):
    """There is no credential, or StackStorm rejects it."""

    status = 401


class Forbidden(Refusal):
    """The user may not do what the request asks for."""

    status = 403


class TooMany(Refusal):
    """The limit for unknown credentials is reached."""

    status = 429


class NeedsTrust(Refusal):
    """Mistral would make a keystone trust for this, and fail."""

    status = 501


class Unavailable(Refusal):
    """StackStorm could not check the credential. It may be valid."""

    status = 503
