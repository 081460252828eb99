"""The errors of the package.

::

    St2MistralError
    ├── InputError            what a workflow or a caller gave cannot be used
    ├── ConfigError           an option is missing or contradicts another
    ├── SandboxError          a part of the sandbox did not start or stop
    └── RemoteError           a request did not get the answer it was made for
        ├── NotSent           the other side never saw the request
        ├── OutcomeUnknown    the other side may or may not have acted
        │   └── TooLarge      its answer has more bytes than are read of any
        └── Answered          the other side said no: ``status`` and ``message``

The three kinds of RemoteError decide what may happen next: what was not sent can be sent again, an
unknown outcome has to be looked up first, and an answer is final unless it asks to come back later.

No message holds a credential: URLs are shown without user and query, headers not at all.
"""

from __future__ import annotations


class St2MistralError(Exception):
    """Root of all errors that this package raises on purpose."""

    def brief(self) -> str:
        """The text for a log: without the other side's words where it was sent something, parameters or
        a result, that they may quote."""
        return str(self)


class InputError(St2MistralError):
    """Something given cannot be used; nothing was sent.

    :param name: the input in question, as its author knows it ("ref", "st2_context.parent").
    :param reason: what is wrong with it and what to do.
    :param line: where in a text, from 1; None where that is not known.
    """

    def __init__(self, name: str, reason: str, *, line: int | None = None) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason
        self.line = line


class ConfigError(St2MistralError):
    """An option is missing, malformed or contradicts another; the text names it."""


class SandboxError(St2MistralError):
    """A part of the sandbox did not start, or ended by itself."""


class RemoteError(St2MistralError):
    """A request did not get the answer it was made for.

    :param what: the call in words, method and URL without user and query.
    :param reason: what happened.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason

    def _has_body(self) -> bool:
        return self.what.startswith(("POST ", "PUT "))


class NotSent(RemoteError):
    """The other side never saw the request: refused, no such host, no connection in time.

    :param permanent: trying again will not help (a certificate that is not trusted, say).
    :param retry_after: seconds that the service in front of it asked to wait, else None.
    """

    def __init__(
        self,
        what: str,
        reason: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, reason)
        self.permanent = permanent
        self.retry_after = retry_after


class OutcomeUnknown(RemoteError):
    """The request left, and no usable answer came back: reset, read timeout, or a 5xx.

    :param status: the HTTP status where there was one, else None: a 5xx, or what was said to a later
        request, which settles nothing of an earlier one.
    :param retry_after: seconds the other side asked to wait, else None.
    :param advice: the part of ``reason`` that is ours.
    """

    def __init__(
        self,
        what: str,
        reason: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(what, reason)
        self.status = status
        self.retry_after = retry_after
        self.advice = advice

    @classmethod
    def after(cls, error: RemoteError, said: str = "") -> OutcomeUnknown:
        """What an error of a later request makes of an earlier one.

        :param said: what to put before its reason.
        """
        return cls(
            error.what,
            f"{said}{error.reason}",
            status=getattr(error, "status", None),
            retry_after=getattr(error, "retry_after", None),
            advice=getattr(error, "advice", ""),
        )

    def brief(self) -> str:
        if self.status is None or not self._has_body():
            return str(self)
        return f"{self.what}: {self.status}" + (f" {self.advice}" if self.advice else ".")


class TooLarge(OutcomeUnknown):
    """The answer came, and has more bytes than are read of any."""


class Answered(RemoteError):
    """The other side understood the request and said no (3xx or 4xx, or a 500 that is final).

    :param status: the HTTP status.
    :param message: the other side's own words (its ``faultstring`` where it has one).
    :param retry_after: seconds the other side asked to wait (429), else None.
    :param advice: the part of ``message`` that is ours.
    """

    def __init__(
        self,
        what: str,
        status: int,
        message: str,
        *,
        retry_after: float | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(what, f"{status} {message}".rstrip())
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.advice = advice

    @property
    def judges_the_request(self) -> bool:
        """Whether the same request would be answered like that at any time: it says no to what was
        asked, not to who asks or to the moment, and comes from the service itself."""
        return self.status in (400, 403, 404, 413, 422) or self.status >= 500

    def brief(self) -> str:
        return f"{self.what}: {self.status} {self.advice}".rstrip() if self._has_body() else str(self)
