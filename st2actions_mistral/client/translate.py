"""Turn what requests, urllib3 and keystoneauth raise, and error responses, into this package's errors.

No text of a library that may quote a response is passed on: a response may repeat the request.
"""

from __future__ import annotations

import http.client
import ssl
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.connection
import urllib3.exceptions
from urllib3.util.retry import Retry
from urllib3.util.ssl_match_hostname import CertificateError

from st2actions_mistral.client import redact
from st2actions_mistral.client.settings import Timeouts
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError

_NOT_SENT: Final = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)

# An error raised inside these came before the first byte of a request: the TLS handshake was rejected,
# reset or stalled. The type of a TLS error does not tell, it is the same in the middle of a response.
_CONNECTING: Final = {
    urllib3.connection.HTTPConnection.connect.__code__,
    urllib3.connection.HTTPSConnection.connect.__code__,
}

# An end of file tells nothing about certificates and versions: a retry may help.
_TLS_ENDED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)

# What the libraries raise for a broken response, and our text for it. The first match counts.
_BROKEN: Final[Sequence[tuple[type[BaseException], str]]] = (
    (http.client.RemoteDisconnected, "the server closed the connection without a response"),
    (http.client.BadStatusLine, "no HTTP status line"),
    (http.client.UnknownProtocol, "an unknown version of HTTP"),
    (http.client.LineTooLong, "a line that is too long"),
    (urllib3.exceptions.IncompleteRead, "the response ended early"),
    # Also raised for a chunk length that is not a number.
    (http.client.IncompleteRead, "a broken chunk"),
    (urllib3.exceptions.ReadTimeoutError, "timed out"),
    (urllib3.exceptions.InvalidHeader, "contradicting headers"),
    (http.client.HTTPException, "unreadable headers"),
)

# Seconds that a server may ask a client to wait. As the limit of newer versions of urllib3.
_LONGEST_WAIT: Final = 21600.0

# What libraries raise if a response lacks what they rely on.
_MALFORMED: Final = (ValueError, LookupError, ArithmeticError, AttributeError)
_MALFORMED_TOKEN: Final = (*_MALFORMED, TypeError, RecursionError)


@contextmanager
def request_errors(
    method: str, url: str, timeouts: Timeouts, ca_option: str = "the CA file"
) -> Iterator[None]:
    """Translate what requests and urllib3 raise.

    A refused connection and a request that was read and then dropped are both a
    ``requests.ConnectionError``. Only the cause tells one from the other.

    :param timeouts: of the request, for the error.
    :param ca_option: the name of the option to set if the server's CA is unknown.
    :raises NotSent: the server never received the request.
    :raises OutcomeUnknown: any other failure.
    """
    # An exception that the caller is handling is in the context of a new one, but is not its cause.
    handled = sys.exc_info()[1]
    try:
        yield
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        causes = list(_causes(error, handled))
        if not _is_not_sent(causes):
            raise OutcomeUnknown(method, url, f"the connection broke ({_text(causes)}).") from error
        if any(isinstance(cause, _TLS_ENDED) for cause in causes):
            raise NotSent(method, url, f"no TLS ({_text(causes)}).") from error
        reason = f"no TLS ({_text(causes)}). {_tls_hint(causes, ca_option)}"
        raise NotSent(method, url, reason, permanent=True) from error
    except requests.exceptions.Timeout as error:
        if _is_not_sent(_causes(error, handled)):
            reason = f"no connection within {timeouts.connect_timeout:g} s."
            raise NotSent(method, url, reason) from error
        reason = f"no response within {timeouts.read_timeout:g} s."
        raise OutcomeUnknown(method, url, reason) from error
    except requests.exceptions.ConnectionError as error:
        causes = list(_causes(error, handled))
        if _is_not_sent(causes):
            raise NotSent(method, url, f"no connection ({_text(causes)}).") from error
        raise OutcomeUnknown(method, url, f"the connection broke ({_text(causes)}).") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        causes = list(_causes(error, handled))
        # urllib3's InvalidHeader is about the response, requests' own about the request.
        is_response = any(isinstance(cause, urllib3.exceptions.InvalidHeader) for cause in causes)
        is_request = isinstance(error, (ValueError, requests.exceptions.InvalidJSONError))
        if is_request and not is_response:
            # The text of the error would show the header or the body.
            raise _impossible(method, url, type(error).__name__) from None
        raise OutcomeUnknown(method, url, f"{type(error).__name__} ({_text(causes)}).") from error
    except OSError as error:
        if error.errno is not None:
            raise OutcomeUnknown(method, url, f"the connection broke ({error.strerror}).") from error
        # requests raises this if the file of CA certificates does not exist.
        raise _impossible(method, url, str(error)) from error
    except UnicodeEncodeError as error:
        # Half a surrogate pair in a query, for example. Responses are never encoded.
        raise _impossible(method, url, type(error).__name__) from None
    except _MALFORMED as error:
        reason = f"the response cannot be read ({type(error).__name__})."
        raise OutcomeUnknown(method, url, reason) from error


@contextmanager
def keystone_errors(url: str, hint: str) -> Iterator[None]:
    """Translate what keystoneauth raises.

    :param url: of keystone.
    :param hint: what to do if keystone rejects the credential.
    :raises NotSent: keystone cannot be reached or does not work. The request that needs the token was
        not sent.
    :raises Answered: keystone rejects the credential.
    """
    from keystoneauth1 import exceptions

    call = "authenticate", redact.url(url)
    try:
        yield
    except (exceptions.ConnectFailure, exceptions.RetriableConnectionFailure) as error:
        raise NotSent(*call, "no connection to keystone.") from error
    except exceptions.HttpError as error:
        if error.http_status >= 500:
            raise NotSent(*call, f"keystone responded with {error.http_status}.") from error
        message = f"{redact.message(error.message)} {hint}"
        raise Answered(*call, error.http_status, message, hint=hint) from error
    except exceptions.ClientException as error:
        # A missing option, or a URL that is not keystone's. The text names options and URLs only.
        raise NotSent(*call, f"{redact.message(str(error))} {hint}", permanent=True) from error
    except _MALFORMED_TOKEN as error:
        reason = f"keystone's response cannot be read ({type(error).__name__})."
        raise NotSent(*call, reason) from error


def rejection(method: str, url: str, response: requests.Response) -> RemoteError:
    """Return the error for a response that is no 2xx."""
    status = response.status_code
    sent = response.request.headers
    # Not response.text, which decodes with any encoding that the response names. Some of them raise.
    body = redact.secrets(response.content.decode(errors="replace"), sent)
    message = redact.message(body) or redact.message(redact.secrets(response.reason or "", sent))
    retry_after = _retry_after(response.headers.get("Retry-After"))
    if status >= 500:
        reason = f"{status} {message}"
        return OutcomeUnknown(
            method, url, reason, status=status, message=message, retry_after=retry_after
        )
    if 300 <= status < 400:
        target = redact.secrets(_target(response), sent)
        hint = "Redirects are not followed: configure the real URL."
        return Answered(method, url, status, f"redirects to {target}. {hint}", hint=hint)
    return Answered(method, url, status, message, retry_after=retry_after)


def _impossible(method: str, url: str, reason: str) -> NotSent:
    return NotSent(method, url, f"the request cannot be made ({reason}).", permanent=True)


def _target(response: requests.Response) -> str:
    """Return scheme and host of a redirect. Its path may repeat the request."""
    location = response.headers.get("Location")
    if not location:
        return "an unnamed URL"
    try:
        target = urlsplit(urljoin(response.url, location))
    except ValueError:
        return "a malformed URL"
    # Not its hostname, which is in lower case: a secret in it would not be found any more.
    return redact.message(f"{target.scheme}://{target.netloc.rpartition('@')[2]}")


def _retry_after(header: str | None) -> float | None:
    """Return the seconds of a ``Retry-After``, or None if it is missing or invalid."""
    try:
        return min(_LONGEST_WAIT, float(Retry().parse_retry_after(header or "")))
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None


def _tls_hint(causes: Sequence[BaseException], ca_option: str) -> str:
    """Return the advice for a certificate that is not accepted."""
    errors = (cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError))
    # OpenSSL's X509_V_ERR_…
    code = next((error.verify_code for error in errors), None)
    if code == 10:
        return "The server's certificate has expired: renew it there."
    # urllib3 1.26 compares the names itself.
    if code in (62, 64) or any(isinstance(cause, CertificateError) for cause in causes):
        return "The server's certificate is for another name: set the URL to that name."
    return f"If the server's certificate is signed by a CA of your own, set {ca_option} to it."


def _is_not_sent(causes: Iterable[BaseException]) -> bool:
    return any(
        isinstance(cause, _NOT_SENT)
        or any(frame.f_code in _CONNECTING for frame, _ in traceback.walk_tb(cause.__traceback__))
        for cause in causes
    )


def _causes(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and everything that led to it, up to ``handled``."""
    seen = {id(handled)}
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        reason = getattr(current, "reason", None)
        related = (current.__cause__, current.__context__, reason, *current.args)
        waiting.extend(item for item in related if isinstance(item, BaseException))


def _text(causes: Sequence[BaseException]) -> str:
    """Return the innermost reason: the operating system's text, or ours, see :data:`_BROKEN`."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)
    for cause in reversed(causes):
        for kind, text in _BROKEN:
            if isinstance(cause, kind):
                return text
    return type(causes[-1]).__name__
