"""The only place that makes a ``requests.Session``, and the one that translates its errors.

A session here follows no redirects (requests would carry ``St2-Api-Key`` and ``X-Auth-Token`` to
another host), keeps no cookies (StackStorm sets the token as one), and takes neither proxies nor
passwords from the environment or ``~/.netrc``: what is configured is what is sent.
"""

from __future__ import annotations

import email.utils
import math
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from st2actions_mistral.client import redact
from st2actions_mistral.client.settings import Patience, Tls
from st2actions_mistral.errors import Answered, NotSent, OutcomeUnknown, RemoteError

# Connections kept open to one server. An executor runs 64 actions at once by default; what is above
# is opened and closed again.
_POOL_SIZE: Final = 64

_NEVER_SENT: Final = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)

# An end of file may come at any time; every other TLS error comes from the handshake.
_TLS_ENDED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


def new_session(tls: Tls) -> requests.Session:
    """A session that is safe to share between threads."""
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.verify = False if tls.insecure else (tls.cafile or True)
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def send(
    session: requests.Session,
    method: str,
    url: str,
    patience: Patience,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    data: bytes | None = None,
    stream: bool = False,
    auth: AuthBase | None = None,
) -> requests.Response:
    """Send one request, once.

    :return: the response to a 2xx, its body read unless ``stream``.
    :raises NotSent: the other side never saw it.
    :raises OutcomeUnknown: it broke on the way, or the answer is a 5xx.
    :raises Answered: a 3xx or 4xx.
    """
    what = f"{method} {redact.url(url)}"
    with translated(what):
        response = session.request(
            method,
            url,
            params=params,
            headers=headers,
            json=json,
            data=data,
            auth=auth,
            timeout=(patience.connect_timeout, patience.read_timeout),
            allow_redirects=False,
            stream=stream,
        )
        if response.ok and not response.is_redirect and response.status_code < 300:
            return response
        try:
            body = response.text
        finally:
            response.close()
    raise _refusal(what, response, body)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into this package's errors.

    A refused connection and a request that was read and then dropped are both a
    ``requests.ConnectionError``; only the cause tells one from the other.
    """
    try:
        yield
    except requests.exceptions.SSLError as error:
        if any(isinstance(cause, _TLS_ENDED) for cause in _causes(error)):
            raise OutcomeUnknown(what, f"the connection broke ({_cause(error)}).") from error
        raise NotSent(
            what,
            f"no TLS ({_cause(error)}). If the server's certificate is signed by a CA of your own,"
            " set cafile to it.",
            permanent=True,
        ) from error
    except requests.exceptions.ConnectTimeout as error:
        raise NotSent(what, "no connection in time (connect_timeout).") from error
    except requests.exceptions.ReadTimeout as error:
        raise OutcomeUnknown(what, "no answer in time (read_timeout).") from error
    except requests.exceptions.ConnectionError as error:
        if any(isinstance(cause, _NEVER_SENT) for cause in _causes(error)):
            raise NotSent(what, f"no connection ({_cause(error)}).") from error
        raise OutcomeUnknown(what, f"the connection broke ({_cause(error)}).") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        if isinstance(error, ValueError):
            # requests cannot make a request of it at all. Its text is left out: it would show the
            # header or the body.
            reason = f"the request cannot be made ({type(error).__name__})."
            raise NotSent(what, reason, permanent=True) from None
        raise OutcomeUnknown(what, f"{type(error).__name__} ({_cause(error)}).") from error


def json_body(response: requests.Response, what: str, expect: type = dict) -> Any:
    """The decoded body of a 2xx.

    :param expect: dict or list.
    :raises OutcomeUnknown: it is something else: another service than the expected one answered.
    """
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError as error:
        raise OutcomeUnknown(what, f"the answer ({response.status_code}) is not JSON.") from error
    if not isinstance(body, expect):
        kind = "an object" if expect is dict else "a list"
        raise OutcomeUnknown(what, f"the answer ({response.status_code}) is not {kind}.")
    return body


def _refusal(what: str, response: requests.Response, body: str) -> RemoteError:
    status = response.status_code
    message = redact.message(body) or response.reason or ""
    retry_after = _retry_after(response.headers.get("Retry-After"))
    if status >= 500:
        return OutcomeUnknown(what, f"{status} {message}", status=status, retry_after=retry_after)
    if 300 <= status < 400:
        target = redact.url(response.headers.get("Location", ""))
        message = f"redirects to {target}, and redirects are not followed. Configure the real URL."
    return Answered(what, status, message, retry_after=retry_after)


def _retry_after(header: str | None) -> float | None:
    """Seconds, from either form that HTTP allows; None for anything else."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
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


def _cause(error: BaseException) -> str:
    """The innermost words, without the objects and addresses that urllib3 puts around them."""
    causes = list(_causes(error))
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror)
    return str(causes[-1]) or type(causes[-1]).__name__
