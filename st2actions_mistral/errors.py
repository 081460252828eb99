"""The errors of the package.

::

    St2MistralError
    ├── InputError            an input of a workflow or a caller is invalid
    ├── ConfigError           an option is missing or contradicts another
    └── RemoteError           a request failed: ``method``, ``url``, ``reason``
        ├── NotSent           the server never received the request
        ├── OutcomeUnknown    the server may or may not have acted
        │   └── TooLarge      its response is larger than any that is read
        └── Answered          the server rejected the request: ``status``, ``message``

The three kinds of RemoteError decide what may happen next: a request that was not sent can be sent
again, an unknown outcome has to be looked up first, and an answer is final unless it asks for a retry.

No message holds a credential: URLs are shown without user and query, headers not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing_extensions import Self

# Methods of requests with a body, which a server may quote in its response.
_WITH_BODY: Final = ("POST", "PUT")


class St2MistralError(Exception):
    """Root of all errors that this package raises on purpose."""

    def log_text(self) -> str:
        """Return the text for a log.

        It leaves out the server's message where that may quote parameters or a result.
        """
        return str(self)


class InputError(St2MistralError):
    """An input is invalid; nothing was sent.

    :param name: the input, as its author knows it ("ref", "st2_context.parent").
    :param reason: what is wrong with it and what to do.
    :param line: the line in a text, from 1; None where that is not known.
    """

    def __init__(self, name: str, reason: str, *, line: int | None = None) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason
        self.line = line


class ConfigError(St2MistralError):
    """An option is missing, malformed or contradicts another; the text names it."""


class RemoteError(St2MistralError):
    """A request failed.

    :param method: the HTTP method ("GET"), or "authenticate" where keystoneauth sends the requests.
    :param url: the URL without user, query and fragment.
    :param reason: what happened.
    :param status: the HTTP status of the response, else None.
    :param message: the server's own words (its ``faultstring`` where it has one), else "".
    :param retry_after: seconds that the server asked to wait, else None.
    :param hint: the part of ``reason`` that is this package's own advice.
    """

    def __init__(
        self,
        method: str,
        url: str,
        reason: str,
        *,
        status: int | None = None,
        message: str = "",
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(f"{method} {url}: {reason}")
        self.method = method
        self.url = url
        self.reason = reason
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.hint = hint

    def log_text(self) -> str:
        """Return the text for a log, without the server's message where the request had a body."""
        if self.status is None or self.method not in _WITH_BODY:
            return str(self)
        return f"{self.method} {self.url}: {self.status}{f' {self.hint}' if self.hint else '.'}"


class NotSent(RemoteError):
    """The server never received the request: refused, no such host, no connection in time.

    :param permanent: a retry cannot help (an untrusted certificate, for example).
    """

    def __init__(
        self,
        method: str,
        url: str,
        reason: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(method, url, reason, retry_after=retry_after)
        self.permanent = permanent


class OutcomeUnknown(RemoteError):
    """The request was sent, and no usable response came back: reset, read timeout, or a 5xx.

    ``status`` is that of the 5xx, or of a later request whose response does not determine the outcome
    of the first one.
    """

    @classmethod
    def of(cls, error: RemoteError, prefix: str = "") -> Self:
        """Return the unknown outcome of a request after ``error``, of it or of a later one.

        :param prefix: what to put before the reason.
        """
        return cls(
            error.method,
            error.url,
            f"{prefix}{error.reason}",
            status=error.status,
            message=error.message,
            retry_after=error.retry_after,
            hint=error.hint,
        )


class TooLarge(OutcomeUnknown):
    """The response has more bytes than are read of any response."""


class Answered(RemoteError):
    """The server rejected the request (3xx or 4xx, or a 500 that is final).

    :param status: the HTTP status.
    :param message: the server's own words, and ``hint`` where there is one.
    """

    status: int

    def __init__(
        self,
        method: str,
        url: str,
        status: int,
        message: str,
        *,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        reason = f"{status} {message}".rstrip()
        super().__init__(
            method,
            url,
            reason,
            status=status,
            message=message,
            retry_after=retry_after,
            hint=hint,
        )

    @property
    def is_permanent(self) -> bool:
        """Tell whether the same request would get this answer at any time.

        Such an answer rejects the request itself. Other answers concern the credential or the moment,
        or come from a proxy.
        """
        return self.status in (400, 403, 404, 413, 422) or self.status >= 500


def as_result(error: St2MistralError) -> dict[str, Any]:
    """Return an error as the result of an action.

    :return: ``{"error"}``, with ``status`` and ``message`` where a server answered.
    """
    result: dict[str, Any] = {"error": str(error)}
    if isinstance(error, Answered):
        result |= {"status": error.status, "message": error.message}
    return result
