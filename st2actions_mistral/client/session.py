"""The only place that makes a ``requests.Session``, and the one that translates its errors.

A session here follows no redirects (requests would carry ``St2-Api-Key`` and ``X-Auth-Token`` to
another host), keeps no cookies (StackStorm sets the token as one), and takes neither proxies nor
passwords from the environment or ``~/.netrc``: what is configured is what is sent.
"""

from __future__ import annotations

import functools
import http.client
import logging
import math
import ssl
import sys
import time
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.connection
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from st2actions_mistral.client import http_date, redact
from st2actions_mistral.client.settings import Timeouts, Tls
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError, TooLarge
from st2actions_mistral.model import json_values

LOG: Final = logging.getLogger(__name__)

# Connections kept open to one server. An executor runs 64 actions at once by default; what is above
# is opened and closed again.
_POOL_SIZE: Final = 64

_NEVER_SENT: Final = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)

# What these raise came before the first byte of a request: a TLS handshake that was refused, reset or
# stalled. An error of TLS by itself does not say so: one in the middle of an answer has the same type.
_CONNECTING: Final = {
    urllib3.connection.HTTPConnection.connect.__code__,
    urllib3.connection.HTTPSConnection.connect.__code__,
}

# What StackStorm's database says, in a 500 of StackStorm, about what it does not store: that will not
# change.
_TOO_LARGE: Final = "document too large"

# An end of file tells nothing of certificates and versions: trying again may help.
_TLS_ENDED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


# What the libraries raise over an answer that is none, and our words for it: theirs may quote the
# answer, and an answer may repeat what it was asked. The first that fits counts.
_BROKEN: Final[Sequence[tuple[type[BaseException], str]]] = (
    (http.client.RemoteDisconnected, "Remote end closed connection without response"),
    (http.client.BadStatusLine, "no HTTP status line"),
    (http.client.UnknownProtocol, "no version of HTTP that is known"),
    (http.client.LineTooLong, "a line that is too long"),
    (urllib3.exceptions.IncompleteRead, "the answer ended early"),
    # Also a length of a chunk that is no number.
    (http.client.IncompleteRead, "a broken chunk"),
    (urllib3.exceptions.ReadTimeoutError, "timed out"),
    (urllib3.exceptions.InvalidHeader, "a header that contradicts itself"),
    (http.client.HTTPException, "headers that cannot be read"),
)

# Of what else servers say themselves, these are named.
_ENCODINGS: Final = frozenset({"gzip", "deflate", "br", "zstd", "compress"})

# Bytes of an answer. StackStorm's largest is one execution: MongoDB stores 16 MB, of which JSON makes
# more by its escapes.
_LARGEST_ANSWER: Final = 64 * 1024 * 1024

# Bytes of a refusal that are read: its words are cut much shorter.
_LARGEST_REFUSAL: Final = 64 * 1024

# How many times read_timeout, which is the longest silence, a whole answer may take: two minutes by
# default, in which the largest comes at half a megabyte a second.
_ANSWER_TIMEOUTS: Final = 4

# Bytes read at once.
_PIECE: Final = 256 * 1024


class _NotQuoting(logging.Filter):
    """urllib3 logs the headers that it cannot parse, whatever they repeat."""

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Failed to parse headers"):
            record.msg, record.args = "The headers of an answer cannot be parsed.", ()
            record.exc_info = None
        return True


_NOT_QUOTING: Final = _NotQuoting()


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # requests prepares the next request although it is told not to follow, and raises whatever
        # a malformed Location makes it.
        return None


def new_session(tls: Tls) -> requests.Session:
    """A session that is safe to share between threads."""
    logging.getLogger(urllib3.connection.__name__).addFilter(_NOT_QUOTING)
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # A compressed answer has no bound before it is read. The servers are near, and most answers small.
    session.headers["Accept-Encoding"] = "identity"
    session.verify = False if tls.insecure else (tls.cafile or True)
    if tls.insecure:
        _say_insecure()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def send(
    session: requests.Session,
    method: str,
    url: str,
    timeouts: Timeouts,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    data: bytes | None = None,
    stream: bool = False,
    auth: AuthBase | None = None,
) -> requests.Response:
    """Send one request, once.

    :return: the response to a 2xx, its body read unless ``stream``. It is read in bounds: of size, and
        of :data:`_ANSWER_TIMEOUTS` times ``read_timeout``.
    :raises NotSent: the other side never saw it.
    :raises OutcomeUnknown: it broke on the way, or the answer is a 5xx.
    :raises Answered: a 3xx or 4xx, or a 500 by which StackStorm refuses what is too large.
    """
    shown = redact.secrets(redact.url(url), headers or {})
    with translated(method, shown):
        response = session.request(
            method,
            url,
            params=params,
            headers=headers,
            json=json,
            data=data,
            auth=auth,
            timeout=(timeouts.connect_timeout, timeouts.read_timeout),
            allow_redirects=False,
            stream=True,
        )
        taken = response.ok and not response.is_redirect and response.status_code < 300
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if taken and encoding != "identity":
            response.close()
            named = f" ({encoding})" if encoding in _ENCODINGS else ""
            raise OutcomeUnknown(method, shown, f"the answer is compressed{named}, unasked.")
        if taken and stream:
            return response
        try:
            deadline = time.monotonic() + _ANSWER_TIMEOUTS * timeouts.read_timeout
            limit = _LARGEST_ANSWER if taken else _LARGEST_REFUSAL
            # What requests itself would have put there, without a bound.
            response._content = _read(response, method, shown, limit, deadline, cut=not taken)
        except BaseException:
            response.close()
            raise
        if taken:
            return response
        # Not response.text: that takes the answer's word for the encoding, and some raise.
        refusal = _refusal(method, shown, response, response.content.decode(errors="replace"))
    raise refusal


def _read(
    response: requests.Response, method: str, url: str, limit: int, deadline: float, *, cut: bool
) -> bytes:
    """The body of an answer.

    :param deadline: in the time of ``time.monotonic``.
    :param cut: take the beginning of what is too much, or comes too slowly; else it is an error.
    """
    pieces: list[bytes] = []
    size = 0
    # read1 gives what is there; read would wait for all of a piece, a byte at a time.
    while piece := response.raw.read1(_PIECE):
        pieces.append(piece)
        size += len(piece)
        late = time.monotonic() > deadline
        if late or size > limit:
            if cut:
                response.close()
                break
            if late:
                raise OutcomeUnknown(method, url, "the answer took too long.")
            raise TooLarge(method, url, f"the answer is larger than {limit} bytes.")
    return b"".join(pieces)[:limit]


@functools.cache
def _say_insecure() -> None:
    LOG.warning(
        "Certificates are not checked (the option insecure is set): whoever is on the way can read and"
        " change everything, credentials too. Set cafile to the CA of the server instead."
    )


@contextmanager
def translated(method: str, url: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into this package's errors.

    A refused connection and a request that was read and then dropped are both a
    ``requests.ConnectionError``; only the cause tells one from the other.
    """
    # What the caller is handling is in the context of whatever is raised here, and is not its cause.
    handled = sys.exc_info()[1]
    try:
        yield
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        causes = list(_causes(error, handled))
        if not _is_unsent(causes):
            raise OutcomeUnknown(method, url, f"the connection broke ({_words(causes)}).") from error
        if any(isinstance(cause, _TLS_ENDED) for cause in causes):
            raise NotSent(method, url, f"no TLS ({_words(causes)}).") from error
        raise NotSent(
            method, url, f"no TLS ({_words(causes)}). {_tls_hint(causes)}", permanent=True
        ) from error
    except requests.exceptions.Timeout as error:
        if _is_unsent(_causes(error, handled)):
            raise NotSent(method, url, "no connection in time (connect_timeout).") from error
        raise OutcomeUnknown(method, url, "no answer in time (read_timeout).") from error
    except requests.exceptions.ConnectionError as error:
        causes = list(_causes(error, handled))
        if _is_unsent(causes):
            raise NotSent(method, url, f"no connection ({_words(causes)}).") from error
        raise OutcomeUnknown(method, url, f"the connection broke ({_words(causes)}).") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        causes = list(_causes(error, handled))
        # urllib3's is a header of the answer, such as two lengths; requests' own is one of the request.
        is_answer = any(isinstance(cause, urllib3.exceptions.InvalidHeader) for cause in causes)
        if isinstance(error, (ValueError, requests.exceptions.InvalidJSONError)) and not is_answer:
            # requests cannot make a request of it at all. Its text is left out: it would show the
            # header or the body.
            reason = f"the request cannot be made ({type(error).__name__})."
            raise NotSent(method, url, reason, permanent=True) from None
        raise OutcomeUnknown(method, url, f"{type(error).__name__} ({_words(causes)}).") from error
    except OSError as error:
        if error.errno is not None:
            raise OutcomeUnknown(method, url, f"the connection broke ({error.strerror}).") from error
        # Not one of the system's: requests says so where it does not find the cafile.
        raise NotSent(method, url, f"the request cannot be made ({error}).", permanent=True) from error
    except UnicodeEncodeError as error:
        # Half a surrogate pair in a query, say. Nothing that comes in is encoded.
        reason = f"the request cannot be made ({type(error).__name__})."
        raise NotSent(method, url, reason, permanent=True) from None
    except (ValueError, LookupError, ArithmeticError, AttributeError) as error:
        # What those below us make of an answer that they did not expect: the request is out.
        raise OutcomeUnknown(
            method, url, f"the answer cannot be read ({type(error).__name__})."
        ) from error


def json_body(
    response: requests.Response, method: str, url: str, expect: type = dict, texts: Collection[str] = ()
) -> Any:
    """The decoded body of a 2xx, see :func:`shaped`."""
    try:
        body = json_values.decode(response.content)
    except ValueError as error:
        raise OutcomeUnknown(
            method, url, f"the answer ({response.status_code}) is not JSON."
        ) from error
    return shaped(body, f"the answer ({response.status_code})", method, url, expect, texts)


def shaped(
    body: Any, name: str, method: str, url: str, expect: type = dict, texts: Collection[str] = ()
) -> Any:
    """``body``, once it is seen to be what was asked for.

    :param name: what it is, for the error.
    :param expect: an object (dict), or a list of such.
    :param texts: the keys under which each object has a text.
    :raises OutcomeUnknown: it is something else: another service than the expected one answered.
    """
    if not isinstance(body, expect):
        kind = "an object" if expect is dict else "a list"
        raise OutcomeUnknown(method, url, f"{name} is not {kind}.")
    for row in body if isinstance(body, list) else [body]:
        missing = [
            key for key in texts if not isinstance(row, dict) or not isinstance(row.get(key), str)
        ]
        if missing:
            raise OutcomeUnknown(method, url, f"{name} has no {' and no '.join(missing)}.")
    return body


def _refusal(method: str, url: str, response: requests.Response, body: str) -> RemoteError:
    status = response.status_code
    words = redact.secrets(body, response.request.headers)
    reason = redact.secrets(response.reason or "", response.request.headers)
    message = redact.message(words) or redact.message(reason)
    retry_after = _retry_after(response.headers.get("Retry-After"))
    if status >= 500 and _TOO_LARGE not in message:
        return OutcomeUnknown(
            method, url, f"{status} {message}", status=status, retry_after=retry_after
        )
    if 300 <= status < 400:
        target = redact.secrets(_target(response), response.request.headers)
        advice = "Redirects are not followed: configure the real URL."
        return Answered(method, url, status, f"redirects to {target}. {advice}", hint=advice)
    return Answered(method, url, status, message, retry_after=retry_after)


def _target(response: requests.Response) -> str:
    """Scheme and host of where an answer leads. The path may repeat what was asked."""
    location = response.headers.get("Location")
    if not location:
        return "nowhere in particular"
    try:
        target = urlsplit(urljoin(response.url, location))
    except ValueError:
        return "something malformed"
    # Not its hostname, which is in lower case: a secret would not be known again.
    return redact.message(f"{target.scheme}://{target.netloc.rpartition('@')[2]}")


def _retry_after(header: str | None) -> float | None:
    """Seconds, from either form that HTTP allows; None for anything else."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        date = http_date.read(header)
        if date is None:
            return None
        seconds = date.timestamp() - time.time()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _tls_hint(causes: Sequence[BaseException]) -> str:
    """What to do about a certificate that is not taken. The numbers are OpenSSL's X509_V_ERR_…"""
    code = next(
        (cause.verify_code for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None
    )
    if code == 10:
        return "The server's certificate has expired: renew it there."
    if code in (62, 64):
        return "The server's certificate is for another name: set the URL to that name."
    return "If the server's certificate is signed by a CA of your own, set cafile to it."


def _is_unsent(causes: Iterable[BaseException]) -> bool:
    return any(
        isinstance(cause, _NEVER_SENT)
        or any(frame.f_code in _CONNECTING for frame, _ in traceback.walk_tb(cause.__traceback__))
        for cause in causes
    )


def _causes(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """An error and everything behind it, up to what was ``handled`` before it was raised."""
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


def _words(causes: Sequence[BaseException]) -> str:
    """The innermost words: the system's, or ours for what the libraries raise, see :data:`_BROKEN`."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)
    for cause in reversed(causes):
        for kind, words in _BROKEN:
            if isinstance(cause, kind):
                return words
    return type(causes[-1]).__name__
